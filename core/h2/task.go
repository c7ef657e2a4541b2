package h2

import (
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/net/http2"
)

// Task writes to an answer now and then, as a watch does, without a goroutine of its own: the tasks of all answers on a connection run
// one after the other, and what they have written is sent together. It is safe for concurrent use.
type Task struct {
	st  *stream
	do  func()
	due atomic.Bool // it has been woken, and has not begun since

	mu      sync.Mutex // is held while it runs
	stopped bool
}

// TaskOf returns a task that does do whenever it has been woken, once for all calls of Wake since it began last. do writes by
// [Task.Append] and waits for nothing, for others wait for it. Meanwhile the answer's handler waits, for the end of its context for
// one, and stops the task before it writes itself, or returns. What was written before must have been flushed.
//
// It returns nil for an answer that is not this package's, or to which nothing can be added.
func TaskOf(w http.ResponseWriter, do func()) *Task {
	for {
		switch x := w.(type) {
		case *response:
			if !x.flows || !x.hasBody() || x.length >= 0 || x.st.req.Method == http.MethodHead {
				return nil
			}
			return &Task{st: x.st, do: do}
		case interface{ Unwrap() http.ResponseWriter }:
			w = x.Unwrap()
		default:
			return nil
		}
	}
}

// Wake has the task run soon. It does not wait.
func (t *Task) Wake() {
	if !t.due.Swap(true) {
		t.st.c.tasks.add(t)
	}
}

// Stop returns when the task does not run, and will not again.
func (t *Task) Stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stopped = true
}

// Append writes the parts to the answer, all of them or, if the client would have to be waited for, none, and then it returns false. It
// does so, too, for more than a connection may owe, and when the answer has ended; writing to it tells why. It is for do alone.
func (t *Task) Append(parts ...[]byte) bool {
	var n int64
	for _, p := range parts {
		n += int64(len(p))
	}
	st, c := t.st, t.st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.full() && c.err == nil {
		if c.flushing {
			c.flushed.Wait()
		} else {
			c.flushNow()
		}
	}
	if c.err != nil || st.err != nil || len(c.queue) > 0 || min(c.window, st.window, backlog) < n {
		return false
	}
	c.window -= n
	st.window -= n
	st.res.wrote += n
	for n > 0 {
		size := min(n, int64(c.maxFrame))
		n -= size
		c.head(int(size), http2.FrameData, 0, st.id)
		for size > 0 {
			some := min(size, int64(len(parts[0])))
			c.out.b = append(c.out.b, parts[0][:some]...)
			size -= some
			if parts[0] = parts[0][some:]; len(parts[0]) == 0 {
				parts = parts[1:]
			}
		}
	}
	return true
}

// run does what is to be done, unless the task has been stopped.
func (t *Task) run() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.due.Store(false)
	if t.stopped {
		return
	}
	defer func() {
		if cause := recover(); cause != nil {
			t.stopped = true
			t.st.failed(cause)
			c := t.st.c
			c.mu.Lock()
			defer c.mu.Unlock()
			c.reset(t.st.id, http2.ErrCodeInternal)
		}
	}()
	t.do()
}

// tasks are those of a connection that have been woken. A goroutine runs them, as long as there are any.
type tasks struct {
	c *conn

	mu      sync.Mutex
	due     []*Task
	running bool
}

func (q *tasks) add(t *Task) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.due = append(q.due, t)
	if !q.running {
		q.running = true
		q.c.server.workers.run(q)
	}
}

// handle runs what is due, and sends what that has written.
func (q *tasks) handle() {
	var done []*Task
	for {
		due := q.take(done)
		if len(due) == 0 {
			return
		}
		for _, t := range due {
			t.run()
		}
		clear(due)
		done = due
		// Who wakes tasks wakes many.
		runtime.Gosched()
		if !q.more() {
			q.c.mu.Lock()
			q.c.flushNow()
			q.c.mu.Unlock()
		}
	}
}

// take returns what is due, for which room is left instead; once that is nothing, another goroutine has to run what comes.
func (q *tasks) take(room []*Task) []*Task {
	q.mu.Lock()
	defer q.mu.Unlock()
	due := q.due
	q.due = room[:0]
	q.running = len(due) > 0
	return due
}

func (q *tasks) more() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.due) > 0
}
