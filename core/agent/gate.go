package agent

import (
	"context"
	"runtime"
	"sync"
	"time"
)

// gate bounds how many sandboxes are made at once. All at once, they wait for each other in the runtime and
// the kernel, and the last comes later than one after the other.
type gate chan struct{}

// patience is how long a place is kept: a runtime or network that hangs must not hold up the pods of others.
const patience = 2 * time.Second

func newGate() gate { return make(gate, 2*runtime.NumCPU()) }

// enter waits for a place. The place is free again when leave is called, or after patience.
func (g gate) enter(ctx context.Context) (leave func(), err error) {
	select {
	case g <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	free := sync.OnceFunc(func() { <-g })
	timer := time.AfterFunc(patience, free)
	return func() {
		timer.Stop()
		free()
	}, nil
}
