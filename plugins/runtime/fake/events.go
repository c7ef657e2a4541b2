package fake

import (
	"google.golang.org/grpc"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// listener is one event stream with its own unbounded queue, so that a slow reader holds nobody up.
type listener struct {
	queue []*runtimeapi.ContainerEventResponse
	wake  chan struct{}
	ended bool
}

func (l *listener) notify() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *listener) end() {
	l.ended = true
	l.notify()
}

// publish is called with the lock held.
func (s *server) publish(sb *sandbox, id string, kind runtimeapi.ContainerEventType) {
	if len(s.listeners) == 0 {
		return
	}
	e := &runtimeapi.ContainerEventResponse{ContainerId: id, ContainerEventType: kind, CreatedAt: s.now()}
	if sb != nil {
		e.PodSandboxStatus, e.ContainersStatuses = sb.status(), s.statusesOf(sb)
	}
	for l := range s.listeners {
		l.queue = append(l.queue, e)
		l.notify()
	}
}

func (s *server) statusesOf(sb *sandbox) []*runtimeapi.ContainerStatus {
	var out []*runtimeapi.ContainerStatus
	for _, c := range s.containers {
		if c.sandbox == sb.id {
			out = append(out, c.status())
		}
	}
	return out
}

func (s *server) GetContainerEvents(_ *runtimeapi.GetEventsRequest, stream grpc.ServerStreamingServer[runtimeapi.ContainerEventResponse]) error {
	if err := s.enter(stream.Context(), "GetContainerEvents"); err != nil {
		return err
	}
	l := &listener{wake: make(chan struct{}, 1)}
	s.mu.Lock()
	s.listeners[l] = struct{}{}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.listeners, l)
	}()
	for {
		select {
		case <-l.wake:
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
		batch, ended := s.take(l)
		for _, e := range batch {
			if err := stream.Send(e); err != nil {
				return err
			}
		}
		if ended {
			return nil
		}
	}
}

func (s *server) take(l *listener) ([]*runtimeapi.ContainerEventResponse, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	batch := l.queue
	l.queue = nil
	return batch, l.ended
}
