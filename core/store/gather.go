package store

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// few is how many writes etcd may be busy with before those that come wait for others.
const few = 4

// gathering lets writes that come at about the same time go to etcd one right after the other: its goroutines change less often, and it
// appends and flushes more of them at once. Nobody waits for time to pass: the first writes when whoever could run has done so once,
// and those who have come meanwhile go along.
type gathering struct {
	busy atomic.Int32

	mu   sync.Mutex
	open chan struct{} // closed when those who have come may go; nil when nobody waits
}

// enter returns when a write may go to etcd. It has to be followed by leave.
func (g *gathering) enter() {
	if g.busy.Add(1) <= few {
		return
	}
	g.mu.Lock()
	open := g.open
	if open != nil {
		g.mu.Unlock()
		<-open
		return
	}
	open = make(chan struct{})
	g.open = open
	g.mu.Unlock()
	runtime.Gosched()
	g.mu.Lock()
	g.open = nil
	g.mu.Unlock()
	close(open)
}

func (g *gathering) leave() { g.busy.Add(-1) }
