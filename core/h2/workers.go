package h2

import "sync"

// workers are goroutines that run handlers, one after the other: a new goroutine for each would have to grow its stack each time.
type workers struct {
	mu   sync.Mutex
	idle []chan *stream // the one that worked last is the last
}

// maxIdle is how many goroutines are kept without work.
const maxIdle = 128

// run has the handler of a stream run.
func (p *workers) run(st *stream) {
	p.take() <- st
}

func (p *workers) take() chan *stream {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.idle); n > 0 {
		w := p.idle[n-1]
		p.idle = p.idle[:n-1]
		return w
	}
	w := make(chan *stream, 1)
	go p.work(w)
	return w
}

func (p *workers) work(w chan *stream) {
	for st := range w {
		st.handle()
		if !p.rest(w) {
			return
		}
	}
}

// rest returns false when enough others rest.
func (p *workers) rest(w chan *stream) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.idle) == maxIdle {
		return false
	}
	p.idle = append(p.idle, w)
	return true
}
