package main

import (
	"context"
	"net"
	"sync"
)

// tracked is a listener that knows how many of the connections that it has accepted are open: also those that a server has
// given away, as it does with sessions.
type tracked struct {
	net.Listener

	mu    sync.Mutex
	count int
	idle  chan struct{} // closed and dropped when there are none; nil unless somebody waits
}

// Accept implements net.Listener.
func (t *tracked) Accept() (net.Conn, error) {
	c, err := t.Listener.Accept()
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	t.count++
	t.mu.Unlock()
	return &trackedConn{Conn: c, closed: sync.OnceFunc(t.gone)}, nil
}

func (t *tracked) gone() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.count--; t.count == 0 && t.idle != nil {
		close(t.idle)
		t.idle = nil
	}
}

// open is how many connections are.
func (t *tracked) open() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.count
}

// wait returns when no connection is open, or ctx ends.
func (t *tracked) wait(ctx context.Context) {
	t.mu.Lock()
	if t.count == 0 {
		t.mu.Unlock()
		return
	}
	if t.idle == nil {
		t.idle = make(chan struct{})
	}
	idle := t.idle
	t.mu.Unlock()
	select {
	case <-idle:
	case <-ctx.Done():
	}
}

type trackedConn struct {
	net.Conn
	closed func()
}

// Close implements net.Conn.
func (c *trackedConn) Close() error {
	defer c.closed()
	return c.Conn.Close()
}
