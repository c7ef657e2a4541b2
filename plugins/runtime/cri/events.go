package cri

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"time"

	eventsapi "github.com/containerd/containerd/api/services/events/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

const (
	// eager is how often a runtime that tells nothing is looked at, lazy one that tells at least that something
	// has happened.
	eager = 250 * time.Millisecond
	lazy  = 5 * time.Second
)

// getContainerEvents carries the runtime's events of what is ours. For a runtime that has none they are made of its
// lists.
func (p *Plugin) getContainerEvents(_ any, s grpc.ServerStream) error {
	var in runtimeapi.GetEventsRequest
	if err := s.RecvMsg(&in); err != nil {
		return err
	}
	carried, err := p.carryEvents(s, &in)
	switch status.Code(err) {
	case codes.Unavailable, codes.Canceled, codes.DeadlineExceeded, codes.OK:
		return err
	}
	if carried {
		return err
	}
	return p.makeEvents(s)
}

func (p *Plugin) carryEvents(s grpc.ServerStream, in *runtimeapi.GetEventsRequest) (carried bool, err error) {
	from, err := p.cri.GetContainerEvents(s.Context(), in)
	if err != nil {
		return false, err
	}
	for {
		e, err := from.Recv()
		if errors.Is(err, io.EOF) {
			return true, nil
		}
		if err != nil {
			return carried, err
		}
		carried = true
		if st := e.GetPodSandboxStatus(); st != nil && !p.ours(st.GetLabels()) {
			continue
		}
		if err := s.SendMsg(e); err != nil {
			return true, err
		}
	}
}

// makeEvents looks at the lists whenever something may have changed.
func (p *Plugin) makeEvents(s grpc.ServerStream) error {
	ctx, cancel := context.WithCancel(s.Context())
	defer cancel()
	hint := make(chan struct{}, 1)
	var hinted atomic.Bool
	go p.readHints(ctx, func() {
		hinted.Store(true)
		select {
		case hint <- struct{}{}:
		default:
		}
	})
	// What has ended before the first look is told, too: whoever asked may have looked earlier.
	before := picture{}
	for first := true; ; first = false {
		changed := p.changed.next()
		after, err := p.paint(ctx)
		if err != nil {
			return err
		}
		for _, h := range tell(before, after) {
			if first && h.kind != runtimeapi.ContainerEventType_CONTAINER_STOPPED_EVENT {
				continue
			}
			if err := s.SendMsg(p.event(ctx, h)); err != nil {
				return err
			}
		}
		before = after
		wait := eager
		if hinted.Load() {
			wait = lazy
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-hint:
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
		timer.Stop()
	}
}

func (p *Plugin) paint(ctx context.Context) (picture, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	sandboxes, err := p.listPodSandbox(ctx, &runtimeapi.ListPodSandboxRequest{})
	if err != nil {
		return nil, err
	}
	containers, err := p.listContainers(ctx, &runtimeapi.ListContainersRequest{})
	if err != nil {
		return nil, err
	}
	return paint(sandboxes.GetItems(), containers.GetContainers()), nil
}

// event fills in what is known of the sandbox; of one that is gone nothing is.
func (p *Plugin) event(ctx context.Context, h happening) *runtimeapi.ContainerEventResponse {
	e := &runtimeapi.ContainerEventResponse{ContainerId: h.id, ContainerEventType: h.kind, CreatedAt: time.Now().UnixNano()}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if st, err := p.cri.PodSandboxStatus(ctx, &runtimeapi.PodSandboxStatusRequest{PodSandboxId: h.sandbox}); err == nil {
		e.PodSandboxStatus = st.GetStatus()
	}
	if h.id == h.sandbox || h.kind == runtimeapi.ContainerEventType_CONTAINER_DELETED_EVENT {
		return e
	}
	if st, err := p.cri.ContainerStatus(ctx, &runtimeapi.ContainerStatusRequest{ContainerId: h.id}); err == nil {
		e.ContainersStatuses = []*runtimeapi.ContainerStatus{st.GetStatus()}
	}
	return e
}

// readHints listens to containerd's own events, which every containerd has on the same socket. Other runtimes end the
// stream at once.
func (p *Plugin) readHints(ctx context.Context, hint func()) {
	stream, err := eventsapi.NewEventsClient(p.conn).Subscribe(ctx, &eventsapi.SubscribeRequest{
		Filters: []string{`namespace==k8s.io,topic~="^/tasks/(start|exit|delete)"`},
	})
	if err != nil {
		return
	}
	for {
		if _, err := stream.Recv(); err != nil {
			return
		}
		hint()
	}
}
