package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"google.golang.org/grpc"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/gantryio/gantry/core/pluginhost"
	"github.com/gantryio/gantry/interfaces/plugin"
	"github.com/gantryio/gantry/interfaces/plugin/relay"
	"github.com/gantryio/gantry/plugins/runtime/containerd"
	"github.com/gantryio/gantry/plugins/runtime/cri"
)

// boundary compares calls of one containerd over its own socket with the same calls through the plugins that relay them.
func boundary(ctx context.Context) error {
	bin, err := filepath.Abs("bin")
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "gb")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	config := containerd.Config{
		Root: filepath.Join(dir, "r"), State: filepath.Join(dir, "c"), Stack: filepath.Join(bin, "stack"),
		PauseArchive: filepath.Join(bin, "images", "pause.tar"),
	}
	socket := filepath.Join(config.State, "c.sock")
	host, stop, err := runHost(ctx, pluginhost.Config{
		Dir: filepath.Join(bin, "plugins"), StateDir: filepath.Join(dir, "plugins"), RunDir: filepath.Join(dir, "s"),
		Plugins: []pluginhost.Plugin{
			{Kind: plugin.Runtime, Name: "containerd", Config: config},
			{Kind: plugin.Runtime, Name: "cri", Config: cri.Config{Endpoint: socket}},
		},
	})
	if err != nil {
		return err
	}
	defer stop()
	conn, err := relay.Dial(socket)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	ways := []way{{name: "directly", runtime: runtimeapi.NewRuntimeServiceClient(conn)}}
	for _, name := range []string{"containerd", "cri"} {
		rt, _, _, err := host.Runtime(name)
		if err != nil {
			return err
		}
		ways = append(ways, way{name: "through plugin " + name, runtime: rt})
	}
	return compare(ctx, ways)
}

// way is how a runtime is reached.
type way struct {
	name    string
	runtime interface {
		Status(ctx context.Context, in *runtimeapi.StatusRequest, opts ...grpc.CallOption) (*runtimeapi.StatusResponse, error)
	}
	times []time.Duration
}

// compare calls each way in turn, so that what else the machine does is the same for all.
func compare(ctx context.Context, ways []way) error {
	const warm, calls = 200, 3000
	for i := range warm + calls {
		for n := range ways {
			began := time.Now()
			if _, err := ways[n].runtime.Status(ctx, &runtimeapi.StatusRequest{}); err != nil {
				return fmt.Errorf("call %s: %w", ways[n].name, err)
			}
			if i >= warm {
				ways[n].times = append(ways[n].times, time.Since(began))
			}
		}
	}
	var direct time.Duration
	for n, w := range ways {
		slices.Sort(w.times)
		p50 := w.times[len(w.times)/2]
		if n == 0 {
			direct = p50
			print("a CRI call "+w.name, "p50 %d µs", p50.Microseconds())
			continue
		}
		print("a CRI call "+w.name, "p50 %d µs, %d more", p50.Microseconds(), (p50 - direct).Microseconds())
	}
	return nil
}

// runHost runs a plugin host until stop, which ends its plugins too, and waits until they are up.
func runHost(ctx context.Context, config pluginhost.Config) (host *pluginhost.Host, stop func(), err error) {
	if host, err = pluginhost.New(config); err != nil {
		return nil, nil, err
	}
	hosting, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- host.Run(hosting) }()
	stop = func() {
		cancel()
		<-ended
		_ = host.Stop(context.WithoutCancel(ctx))
	}
	if err := host.Ready(ctx); err != nil {
		stop()
		return nil, nil, err
	}
	return host, stop, nil
}
