package h2

import "sync"

// workers are goroutines that run handlers, one after the other: a new goroutine for each would have to grow its stack each time.
type workers struct {
	mu   sync.Mutex
	idle []chan job // the one that worked last is the last
}

// job is what a worker does: a stream's handler, or what a connection's tasks have to do.
type job interface{ handle() }

// maxIdle is how many goroutines are kept without work.
const maxIdle = 128

// run has a job done. It does not wait.
func (p *workers) run(j job) {
	p.take() <- j
}

func (p *workers) take() chan job {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.idle); n > 0 {
		w := p.idle[n-1]
		p.idle = p.idle[:n-1]
		return w
	}
	w := make(chan job, 1)
	go p.work(w)
	return w
}

func (p *workers) work(w chan job) {
	for j := range w {
		j.handle()
		if !p.rest(w) {
			return
		}
	}
}

// rest returns false when enough others rest.
func (p *workers) rest(w chan job) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.idle) == maxIdle {
		return false
	}
	p.idle = append(p.idle, w)
	return true
}
