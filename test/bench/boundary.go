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

	"github.com/gantryio/gantry/core/agent/roster"
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
			{Kind: plugin.Runtime, Name: "containerd", Config: config, Limits: roster.DefaultLimits()},
			{Kind: plugin.Runtime, Name: "cri", Config: cri.Config{Endpoint: socket}, Limits: roster.DefaultLimits()},
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
	for _, p := range host.Instances() {
		rt, _, _, err := host.Runtime(p.Name)
		if err != nil {
			return err
		}
		ways = append(ways, way{name: "through plugin " + p.Name, runtime: rt, pid: p.PID})
	}
	return compare(ctx, ways)
}

// way is how a runtime is reached.
type way struct {
	name    string
	runtime interface {
		Status(ctx context.Context, in *runtimeapi.StatusRequest, opts ...grpc.CallOption) (*runtimeapi.StatusResponse, error)
	}
	// pid is that of the plugin on the way, 0 for none.
	pid   int
	cpu   time.Duration
	times []time.Duration
}

// used is the CPU time of the plugin.
func (w *way) used() (time.Duration, error) {
	if w.pid == 0 {
		return 0, nil
	}
	u, err := usageOf(w.pid)
	return u.cpu, err
}

// compare calls each way in turn, so that what else the machine does is the same for all.
func compare(ctx context.Context, ways []way) error {
	const warm, calls = 200, 3000
	for i := range warm + calls {
		for n := range ways {
			w := &ways[n]
			if i == warm {
				var err error
				if w.cpu, err = w.used(); err != nil {
					return err
				}
			}
			began := time.Now()
			if _, err := w.runtime.Status(ctx, &runtimeapi.StatusRequest{}); err != nil {
				return fmt.Errorf("call %s: %w", w.name, err)
			}
			if i >= warm {
				w.times = append(w.times, time.Since(began))
			}
		}
	}
	var direct time.Duration
	for n, w := range ways {
		now, err := w.used()
		if err != nil {
			return err
		}
		slices.Sort(w.times)
		p50 := w.times[len(w.times)/2]
		if n == 0 {
			direct = p50
			print("a CRI call "+w.name, "p50 %d µs", p50.Microseconds())
			continue
		}
		print("a CRI call "+w.name, "p50 %d µs, %d more, %d µs of the plugin's CPU",
			p50.Microseconds(), (p50 - direct).Microseconds(), ((now - w.cpu) / calls).Microseconds())
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
