package apiserver

import "sync"

// workers run calls on goroutines that live on. net/http starts a goroutine for every request, whose
// stack then grows several times on the way down to etcd and JSON; growing costs more than a small call's
// other work does. The zero value is ready.
type workers struct {
	mu   sync.Mutex
	idle []*worker // the last one worked last
}

type worker struct {
	work chan func()
	done chan any // receives what the work panicked with, or nil
}

// maxIdle is how many goroutines are kept without work.
const maxIdle = 128

// do runs f on another goroutine and returns when it has. A panic of f is the caller's.
func (p *workers) do(f func()) {
	w := p.take()
	w.work <- f
	cause := <-w.done
	p.put(w)
	if cause != nil {
		panic(cause)
	}
}

func (p *workers) take() *worker {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.idle); n > 0 {
		w := p.idle[n-1]
		p.idle = p.idle[:n-1]
		return w
	}
	w := &worker{work: make(chan func()), done: make(chan any)}
	go w.run()
	return w
}

func (p *workers) put(w *worker) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.idle) == maxIdle {
		close(w.work)
		return
	}
	p.idle = append(p.idle, w)
}

func (w *worker) run() {
	for f := range w.work {
		w.done <- caught(f)
	}
}

// caught runs f and returns what it panicked with.
func caught(f func()) (cause any) {
	defer func() { cause = recover() }()
	f()
	return nil
}
