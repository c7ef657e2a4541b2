package scheduler

import (
	"context"
	"sync"
)

// tasks is an unbounded list of writes and the goroutines that work on it.
type tasks struct {
	mu   sync.Mutex
	list []func()
	wake chan struct{}
}

func (t *tasks) add(do func()) {
	t.mu.Lock()
	t.list = append(t.list, do)
	t.mu.Unlock()
	t.signal()
}

func (t *tasks) signal() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

func (t *tasks) take() (do func(), more bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.list) == 0 {
		t.list = nil
		return nil, false
	}
	do, t.list = t.list[0], t.list[1:]
	return do, len(t.list) > 0
}

func (t *tasks) work(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.wake:
		}
		do, more := t.take()
		if more {
			t.signal() // another goroutine takes the next one meanwhile
		}
		for do != nil && ctx.Err() == nil {
			do()
			do, _ = t.take()
		}
	}
}
