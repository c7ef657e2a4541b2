package containerd

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// patience is how long a call waits for a containerd that is being started.
const patience = 15 * time.Second

// criPrefix is what the names of CRI's methods begin with.
const criPrefix = "/runtime.v1."

// isCRI says which calls are carried to containerd.
func isCRI(method string) bool { return strings.HasPrefix(method, criPrefix) }

// ready waits until containerd is there with its sandbox image, for a bounded time.
func (p *Plugin) ready(ctx context.Context) error {
	if p.prep.done() && p.daemon.reason() == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := p.prep.wait(ctx); err != nil {
		return status.Errorf(codes.Unavailable, "containerd is not ready: %v", errors.Join(p.daemon.reason(), err))
	}
	return nil
}

// preparation is what has to be done once before calls are let through.
type preparation struct {
	finished chan struct{}
	mu       sync.Mutex
	last     error
}

func newPreparation() *preparation { return &preparation{finished: make(chan struct{})} }

func (p *preparation) finish() { close(p.finished) }

func (p *preparation) done() bool {
	select {
	case <-p.finished:
		return true
	default:
		return false
	}
}

func (p *preparation) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = err
}

func (p *preparation) wait(ctx context.Context) error {
	select {
	case <-p.finished:
		return nil
	case <-ctx.Done():
		p.mu.Lock()
		defer p.mu.Unlock()
		return errors.Join(p.last, ctx.Err())
	}
}
