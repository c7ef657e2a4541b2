// Package sandbox lets a shim be a pod's sandbox itself (containerd's sandbox API), in place of a container whose process
// does nothing but pause: a thread of the shim holds the pod's namespaces. A pod thereby costs a container less to
// start, to keep and to end.
//
// Pods whose containers share one PID namespace need a process that is its init, and those with a user namespace one that
// owns it: for them there are sandbox containers still.
package sandbox

import (
	"context"
	"runtime"
	"sync"
	"time"

	api "github.com/containerd/containerd/api/runtime/sandbox/v1"
	"github.com/containerd/containerd/api/types"
	"github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2/task"
	"github.com/containerd/containerd/v2/pkg/shim"
	"github.com/containerd/containerd/v2/pkg/shutdown"
	"github.com/containerd/containerd/v2/plugins"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/plugin"
	"github.com/containerd/plugin/registry"
	"github.com/containerd/ttrpc"
	"github.com/containerd/typeurl/v2"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Register makes the shim serve the sandbox API and that of tasks, the pod's containers. It is called before shim.RunShim.
func Register() {
	s := newService()
	registry.Register(&plugin.Registration{
		Type:     plugins.TTRPCPlugin,
		ID:       "sandbox",
		Requires: []plugin.Type{plugins.InternalPlugin},
		InitFn: func(ic *plugin.InitContext) (any, error) {
			down, err := ic.GetByID(plugins.InternalPlugin, "shutdown")
			if err != nil {
				return nil, err
			}
			s.shutdown = down.(shutdown.Service).Shutdown
			return s, nil
		},
	})
	registry.Register(&plugin.Registration{
		Type:     plugins.TTRPCPlugin,
		ID:       "task",
		Requires: []plugin.Type{plugins.EventPlugin, plugins.InternalPlugin},
		InitFn: func(ic *plugin.InitContext) (any, error) {
			publisher, err := ic.GetByID(plugins.EventPlugin, "publisher")
			if err != nil {
				return nil, err
			}
			down, err := ic.GetByID(plugins.InternalPlugin, "shutdown")
			if err != nil {
				return nil, err
			}
			return task.NewTaskService(ic.Context, publisher.(shim.Publisher), gate{Service: down.(shutdown.Service), sandbox: s})
		},
	})
}

// gate keeps the shim there as long as it is a sandbox: containerd lets it end after the end of each container, and a shim
// by itself only minds whether it has others.
type gate struct {
	shutdown.Service
	sandbox *service
}

// Shutdown implements shutdown.Service.
func (g gate) Shutdown() {
	if !g.sandbox.there() {
		g.Service.Shutdown()
	}
}

// service is one sandbox: containerd starts a shim for each.
type service struct {
	shutdown func()
	leaving  sync.Once

	mu      sync.Mutex
	id      string
	netns   string
	config  config
	holder  *holder
	created time.Time
	exited  time.Time
	// ended is closed when the sandbox has stopped.
	ended chan struct{}
}

var _ api.TTRPCSandboxService = (*service)(nil)

func newService() *service { return &service{ended: make(chan struct{})} }

// there tells that there is a sandbox, which has not been shut down.
func (s *service) there() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.id != ""
}

// RegisterTTRPC is how the shim's server finds the service.
func (s *service) RegisterTTRPC(server *ttrpc.Server) error {
	api.RegisterTTRPCSandboxService(server, s)
	return nil
}

// CreateSandbox takes note of what the sandbox is to be.
func (s *service) CreateSandbox(_ context.Context, in *api.CreateSandboxRequest) (*api.CreateSandboxResponse, error) {
	c, err := parse(in.GetOptions().GetValue())
	if err != nil {
		return nil, errgrpc.ToGRPCf(errdefs.ErrInvalidArgument, "create sandbox: %v", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.id != "" {
		return nil, errgrpc.ToGRPCf(errdefs.ErrAlreadyExists, "sandbox %s", s.id)
	}
	s.id, s.netns, s.config = in.GetSandboxID(), in.GetNetnsPath(), c
	return &api.CreateSandboxResponse{}, nil
}

// StartSandbox makes the namespaces. The number that it returns is a thread's.
func (s *service) StartSandbox(_ context.Context, in *api.StartSandboxRequest) (*api.StartSandboxResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.check(in.GetSandboxID()); err != nil {
		return nil, err
	}
	if s.holder == nil {
		if !s.exited.IsZero() {
			return nil, errgrpc.ToGRPCf(errdefs.ErrFailedPrecondition, "sandbox %s has stopped", s.id)
		}
		h, err := hold(s.netns, s.config)
		if err != nil {
			return nil, errgrpc.ToGRPCf(errdefs.ErrUnknown, "start sandbox: %v", err)
		}
		s.holder, s.created = h, time.Now()
	}
	return &api.StartSandboxResponse{Pid: uint32(s.holder.tid), CreatedAt: timestamppb.New(s.created)}, nil
}

// check is called with the lock held.
func (s *service) check(id string) error {
	if s.id != id {
		return errgrpc.ToGRPCf(errdefs.ErrNotFound, "sandbox %s", id)
	}
	return nil
}

// Platform is the machine's.
func (s *service) Platform(context.Context, *api.PlatformRequest) (*api.PlatformResponse, error) {
	return &api.PlatformResponse{Platform: &types.Platform{OS: runtime.GOOS, Architecture: runtime.GOARCH}}, nil
}

// StopSandbox gives the namespaces up. It is idempotent.
func (s *service) StopSandbox(_ context.Context, in *api.StopSandboxRequest) (*api.StopSandboxResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.check(in.GetSandboxID()); err != nil {
		return nil, err
	}
	s.stop()
	return &api.StopSandboxResponse{}, nil
}

// stop is called with the lock held.
func (s *service) stop() {
	if !s.exited.IsZero() {
		return
	}
	if s.holder != nil {
		s.holder.end()
		s.holder = nil
	}
	s.exited = time.Now()
	close(s.ended)
}

// WaitSandbox returns when the sandbox has stopped.
func (s *service) WaitSandbox(ctx context.Context, in *api.WaitSandboxRequest) (*api.WaitSandboxResponse, error) {
	s.mu.Lock()
	err := s.check(in.GetSandboxID())
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	select {
	case <-s.ended:
	case <-ctx.Done():
		return nil, errgrpc.ToGRPC(ctx.Err())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return &api.WaitSandboxResponse{ExitedAt: timestamppb.New(s.exited)}, nil
}

// SandboxStatus names the states as CRI does.
func (s *service) SandboxStatus(_ context.Context, in *api.SandboxStatusRequest) (*api.SandboxStatusResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.check(in.GetSandboxID()); err != nil {
		return nil, err
	}
	out := &api.SandboxStatusResponse{SandboxID: s.id, State: "SANDBOX_NOTREADY"}
	if !s.created.IsZero() {
		out.CreatedAt = timestamppb.New(s.created)
	}
	if !s.exited.IsZero() {
		out.ExitedAt = timestamppb.New(s.exited)
	}
	if s.holder != nil {
		out.State, out.Pid = "SANDBOX_READY", uint32(s.holder.tid)
	}
	return out, nil
}

// PingSandbox tells that the sandbox is there.
func (s *service) PingSandbox(_ context.Context, in *api.PingRequest) (*api.PingResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &api.PingResponse{}, s.check(in.GetSandboxID())
}

// linger is how long the shim lives after the answer that lets it end. containerd takes a shim whose connection breaks
// before the answer for one that has crashed.
const linger = 300 * time.Millisecond

// ShutdownSandbox stops the sandbox and lets the shim end.
func (s *service) ShutdownSandbox(_ context.Context, in *api.ShutdownSandboxRequest) (*api.ShutdownSandboxResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.check(in.GetSandboxID()); err != nil {
		return nil, err
	}
	s.stop()
	s.leaving.Do(func() { time.AfterFunc(linger, s.shutdown) })
	return &api.ShutdownSandboxResponse{}, nil
}

// SandboxMetrics is what the pod uses, its containers included.
func (s *service) SandboxMetrics(_ context.Context, in *api.SandboxMetricsRequest) (*api.SandboxMetricsResponse, error) {
	s.mu.Lock()
	err := s.check(in.GetSandboxID())
	cgroup := s.config.cgroup
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if cgroup == "" {
		return nil, errgrpc.ToGRPCf(errdefs.ErrNotFound, "cgroup of sandbox %s", in.GetSandboxID())
	}
	stats, err := usage(cgroup)
	if err != nil {
		return nil, errgrpc.ToGRPCf(errdefs.ErrUnknown, "usage of sandbox %s: %v", in.GetSandboxID(), err)
	}
	data, err := typeurl.MarshalAnyToProto(stats)
	if err != nil {
		return nil, errgrpc.ToGRPCf(errdefs.ErrUnknown, "usage of sandbox %s: %v", in.GetSandboxID(), err)
	}
	return &api.SandboxMetricsResponse{Metrics: &types.Metric{Timestamp: timestamppb.Now(), ID: in.GetSandboxID(), Data: data}}, nil
}

// UpdateSandbox is refused: a sandbox has no resources of its own.
func (s *service) UpdateSandbox(context.Context, *api.UpdateSandboxRequest) (*api.UpdateSandboxResponse, error) {
	return nil, errgrpc.ToGRPCf(errdefs.ErrNotImplemented, "update of a sandbox")
}
