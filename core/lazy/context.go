// Package lazy makes contexts for calls of which few ever wait.
package lazy

import (
	"context"
	"sync"
	"time"
)

// Context is one that can end, by itself or at a time, like those of [context.WithCancel] and [context.WithDeadline]. But it takes a
// place among those of its parent, a channel and a timer only when somebody waits for its end or makes a context of it.
type Context struct {
	parent   context.Context
	deadline time.Time // zero: it has that of its parent

	mu     sync.Mutex
	made   context.Context // does the work once somebody waits
	cancel context.CancelFunc
	ended  bool
}

var _ context.Context = (*Context)(nil)

// New returns a context that ends with its parent, when End is called, which must be done, and at the deadline unless that is zero.
func New(parent context.Context, deadline time.Time) *Context {
	return &Context{parent: parent, deadline: deadline}
}

// End ends the context: with [context.Canceled], unless it has ended already.
func (c *Context) End() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	if c.cancel != nil {
		c.cancel()
	}
}

// Deadline implements [context.Context].
func (c *Context) Deadline() (time.Time, bool) {
	end, ok := c.parent.Deadline()
	if !c.deadline.IsZero() && (!ok || c.deadline.Before(end)) {
		return c.deadline, true
	}
	return end, ok
}

// Done implements [context.Context].
func (c *Context) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.made == nil {
		c.make()
	}
	return c.made.Done()
}

func (c *Context) make() {
	if c.deadline.IsZero() {
		c.made, c.cancel = context.WithCancel(c.parent)
	} else {
		c.made, c.cancel = context.WithDeadline(c.parent, c.deadline)
	}
	if c.ended {
		c.cancel()
	}
}

// Err implements [context.Context].
func (c *Context) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.made != nil:
		return c.made.Err()
	case c.ended:
		return context.Canceled
	case !c.deadline.IsZero() && !time.Now().Before(c.deadline):
		return context.DeadlineExceeded
	}
	return c.parent.Err()
}

// Value implements [context.Context]. Contexts made of this one find by it the one that does the work, and need no goroutine of
// their own.
func (c *Context) Value(key any) any {
	c.mu.Lock()
	from := c.made
	c.mu.Unlock()
	if from == nil {
		from = c.parent
	}
	return from.Value(key)
}
