// Package cri is the runtime plugin that adopts a container runtime which somebody else runs: any socket that speaks
// CRI v1, such as that of containerd or CRI-O. What is not ours there stays unseen and untouched; what a runtime
// lacks of what Gantry relies on, such as events, is made up for.
package cri

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/gantryio/gantry/interfaces/plugin"
	"github.com/gantryio/gantry/interfaces/plugin/relay"
)

// Config is what the host gives the plugin. Endpoint is needed.
type Config struct {
	// Endpoint is the path of the runtime's socket.
	Endpoint string `json:"endpoint"`
	// CNIConfDir and CNIBinDir are where the runtime looks for CNI configurations and executables; by default
	// /etc/cni/net.d and /opt/cni/bin.
	CNIConfDir string `json:"cniConfDir,omitempty"`
	CNIBinDir  string `json:"cniBinDir,omitempty"`
	// Shim is the CNI executable that hands calls to AttachSocket, the node agent's socket. Without it the runtime's
	// own network configuration is left as it is.
	Shim         string `json:"shim,omitempty"`
	AttachSocket string `json:"attachSocket,omitempty"`
	// Loopback is the CNI executable that the runtime gets where it has none: old runtimes do not bring up loopback
	// interfaces themselves.
	Loopback string `json:"loopback,omitempty"`
	// Owner marks what is ours in the runtime, as a label's value; "gantry" by default.
	Owner string `json:"owner,omitempty"`
	// State is a folder for what has to be put back. It is shared by all instances of this plugin on the node.
	State string `json:"state,omitempty"`
}

func (c Config) check() error {
	paths := map[string]string{"endpoint": c.Endpoint, "cniConfDir": c.CNIConfDir, "cniBinDir": c.CNIBinDir}
	if c.Shim != "" {
		paths["shim"], paths["attachSocket"], paths["state"] = c.Shim, c.AttachSocket, c.State
	}
	for name, value := range paths {
		if !filepath.IsAbs(value) {
			return fmt.Errorf("check configuration: %s is %q, want an absolute path: %w", name, value, plugin.ErrInvalid)
		}
	}
	return nil
}

func (c Config) defaulted() Config {
	c.CNIConfDir = cmp.Or(c.CNIConfDir, "/etc/cni/net.d")
	c.CNIBinDir = cmp.Or(c.CNIBinDir, "/opt/cni/bin")
	c.Owner = cmp.Or(c.Owner, "gantry")
	return c
}

// Plugin is the running plugin.
type Plugin struct {
	config Config
	conn   *grpc.ClientConn
	cri    runtimeapi.RuntimeServiceClient
	// changed wakes whoever makes events: something was done to a sandbox or a container.
	changed bell
	turned  bell
	end     context.CancelFunc
	ended   chan struct{}

	mu sync.Mutex
	// now is how the runtime is; down is why it does not answer at all.
	now  plugin.Condition
	down error
}

var (
	_ plugin.Stopper       = (*Plugin)(nil)
	_ plugin.ServerOptions = (*Plugin)(nil)
	_ plugin.Reporter      = (*Plugin)(nil)
	_ plugin.Passer        = (*Plugin)(nil)
)

// Open returns at once, whether the runtime answers or not: calls wait for a bounded time.
func Open(c Config) (*Plugin, error) {
	c = c.defaulted()
	if err := c.check(); err != nil {
		return nil, err
	}
	conn, err := relay.Dial(c.Endpoint, grpc.WithDefaultCallOptions(grpc.WaitForReady(false)))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &Plugin{config: c, conn: conn, cri: runtimeapi.NewRuntimeServiceClient(conn), end: cancel, ended: make(chan struct{})}
	p.down = fmt.Errorf("runtime socket %s: not asked yet", c.Endpoint)
	p.now.Problem = p.down.Error()
	go func() {
		defer close(p.ended)
		p.observe(ctx)
	}()
	return p, nil
}

// Register registers nothing: all calls are carried.
func Register(grpc.ServiceRegistrar, *Plugin) {}

// patience is how long a call waits for a runtime that does not answer.
const patience = 5 * time.Second

// ready waits until the runtime answers, for a bounded time.
func (p *Plugin) ready(ctx context.Context) error {
	return p.await(ctx, func() error { return p.down })
}

// wired waits until the runtime uses our network, too.
func (p *Plugin) wired(ctx context.Context) error {
	return p.await(ctx, func() error {
		if p.now.Problem != "" {
			return fmt.Errorf("%s", p.now.Problem)
		}
		return nil
	})
}

// await waits until why, which is called with the lock held, returns nil.
func (p *Plugin) await(ctx context.Context, why func() error) error {
	var limit <-chan time.Time
	for {
		turned := p.turned.next()
		p.mu.Lock()
		err := why()
		p.mu.Unlock()
		if err == nil {
			return nil
		}
		if limit == nil {
			limit = time.After(patience)
		}
		select {
		case <-turned:
		case <-limit:
			return status.Error(codes.Unavailable, err.Error())
		case <-ctx.Done():
			return status.Errorf(codes.Unavailable, "%v: %v", err, ctx.Err())
		}
	}
}

// bell wakes everybody who waits for the next ring.
type bell struct {
	mu   sync.Mutex
	wake chan struct{}
}

func (b *bell) next() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.wake == nil {
		b.wake = make(chan struct{})
	}
	return b.wake
}

func (b *bell) ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.wake != nil {
		close(b.wake)
		b.wake = nil
	}
}
