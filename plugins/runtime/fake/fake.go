// Package fake is a CRI runtime that keeps its sandboxes, containers and images in memory and behaves as
// a real one does: states change, events flow, errors have CRI's codes. Hollow nodes run on it and the
// agent is tested with it.
package fake

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/netip"
	"sync"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/gantryio/gantry/interfaces/plugin/local"
	"github.com/gantryio/gantry/interfaces/runtime"
)

// Options shape a fake. The zero value is a runtime without delays on which every image can be pulled and
// every container runs until it is stopped.
type Options struct {
	// Name is reported as the runtime's name; "fake" when empty.
	Name string
	// Now is the clock; time.Now when nil.
	Now func() time.Time
	// PodCIDR is where sandbox addresses come from; 10.244.0.0/16 when invalid.
	PodCIDR netip.Prefix
	// Images are present from the start.
	Images []string
	// Delay, when set, is called at the start of each call, outside all locks; it may block or fail the
	// call.
	Delay func(ctx context.Context, method string) error
	// Pull, when set, decides whether an image can be pulled.
	Pull func(ctx context.Context, image string) error
	// Attach, when set, gives a sandbox its addresses instead of PodCIDR, as a network plugin would.
	Attach func(ctx context.Context, id string, config *runtimeapi.PodSandboxConfig) ([]netip.Addr, error)
	// Started, when set, is called after a container has started; it may call Runtime.Exit.
	Started func(r *Runtime, id string, config *runtimeapi.ContainerConfig)
	// StopCode is the exit code of a container that was asked to stop; default 0.
	StopCode func(config *runtimeapi.ContainerConfig) int32
	// Exec, when set, answers ExecSync.
	Exec func(ctx context.Context, container *runtimeapi.ContainerConfig, cmd []string) (*runtimeapi.ExecSyncResponse, error)
	// StreamingURL is the base of the URLs that Exec, Attach and PortForward return; without it they
	// are unimplemented.
	StreamingURL string
	// Logs says that containers write a log file as CRI specifies, with one line at their start.
	Logs bool
}

// Runtime is the fake, used through CRI's client interfaces without sockets or encoding. Its other
// methods are for the test that owns it. It is safe for concurrent use.
type Runtime struct {
	*runtime.Client
	server *server
}

var (
	_ runtime.Runtime  = (*Runtime)(nil)
	_ runtime.Importer = (*Runtime)(nil)
	_ runtime.Server   = (*server)(nil)
)

// New returns an empty fake.
func New(o Options) *Runtime {
	if o.Name == "" {
		o.Name = "fake"
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if !o.PodCIDR.IsValid() {
		o.PodCIDR = netip.MustParsePrefix("10.244.0.0/16")
	}
	s := &server{
		options: o, sandboxes: map[string]*sandbox{}, containers: map[string]*container{},
		images: map[string]*runtimeapi.Image{}, addresses: map[netip.Addr]string{}, failures: map[string][]error{},
		listeners: map[*listener]struct{}{}, prefix: newPrefix(),
	}
	for _, name := range o.Images {
		s.addImage(name)
	}
	conn := &local.Conn{}
	runtime.Register(conn, s)
	r := &Runtime{Client: runtime.NewClient(conn), server: s}
	s.owner = r
	return r
}

// Server is the same runtime as a CRI server, to be served over gRPC.
func (r *Runtime) Server() runtime.Server { return r.server }

// Exit ends a running container as if its process had ended; false when it does not run.
func (r *Runtime) Exit(containerID string, code int32) bool {
	return r.server.exit(containerID, code, exitReason(code))
}

// OOM ends a running container as if the kernel had killed it for its memory limit.
func (r *Runtime) OOM(containerID string) bool {
	return r.server.exit(containerID, 137, "OOMKilled")
}

// Fail lets the next call of a CRI method ("RunPodSandbox", ...) fail with err; several are queued.
func (r *Runtime) Fail(method string, err error) {
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	r.server.failures[method] = append(r.server.failures[method], err)
}

// Dump returns the containers and sandboxes there are now, in no particular order.
func (r *Runtime) Dump() ([]*runtimeapi.PodSandbox, []*runtimeapi.Container) {
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	return r.server.list(nil), r.server.listContainers(nil)
}

// Config returns the configuration a container was created with; nil when there is no such container.
func (r *Runtime) Config(containerID string) *runtimeapi.ContainerConfig {
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	if c, ok := r.server.containers[containerID]; ok {
		return c.config
	}
	return nil
}

// SandboxConfig returns the configuration a sandbox was run with; nil when there is no such sandbox.
func (r *Runtime) SandboxConfig(sandboxID string) *runtimeapi.PodSandboxConfig {
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	if s, ok := r.server.sandboxes[sandboxID]; ok {
		return s.config
	}
	return nil
}

// LoseEvents ends all event streams, as a restarting runtime does.
func (r *Runtime) LoseEvents() {
	r.server.mu.Lock()
	defer r.server.mu.Unlock()
	for l := range r.server.listeners {
		l.end()
	}
}

type server struct {
	runtimeapi.UnimplementedRuntimeServiceServer
	runtimeapi.UnimplementedImageServiceServer
	options Options
	owner   *Runtime

	// prefix begins all IDs, which differ from those of other fakes as those of real runtimes do.
	prefix string

	mu         sync.Mutex
	next       uint64
	sandboxes  map[string]*sandbox
	containers map[string]*container
	images     map[string]*runtimeapi.Image
	addresses  map[netip.Addr]string
	cursor     netip.Addr
	failures   map[string][]error
	listeners  map[*listener]struct{}
}

// enter runs what was asked to happen before a call.
func (s *server) enter(ctx context.Context, method string) error {
	s.mu.Lock()
	var err error
	if queue := s.failures[method]; len(queue) > 0 {
		err, s.failures[method] = queue[0], queue[1:]
	}
	s.mu.Unlock()
	if err == nil && s.options.Delay != nil {
		err = s.options.Delay(ctx, method)
	}
	return err
}

func newPrefix() string {
	var half [16]byte
	_, _ = rand.Read(half[:]) // never fails (crypto/rand)
	return hex.EncodeToString(half[:])
}

func (s *server) newID() string {
	s.next++
	return fmt.Sprintf("%s%032x", s.prefix, s.next)
}

func (s *server) now() int64 { return s.options.Now().UnixNano() }
