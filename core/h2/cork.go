package h2

import (
	"net"
	"sync"
)

// Cork returns a listener whose connections write in one system call what TLS makes several records of. Connections of other
// listeners are served as well, with more calls.
func Cork(l net.Listener) net.Listener { return corker{l} }

type corker struct{ net.Listener }

// Accept implements net.Listener.
func (l corker) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &corked{Conn: c}, nil
}

// corked is a connection below TLS. It has one writer at a time, TLS.
type corked struct {
	net.Conn

	mu   sync.Mutex
	held *buffer // nil unless writes are held back
}

// hold keeps writes back until release.
func (c *corked) hold() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held = takeBuffer()
}

// release writes what has been held back.
func (c *corked) release() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	held := c.held
	c.held = nil
	_, err := c.Conn.Write(held.b)
	held.free()
	return err
}

// Write implements io.Writer.
func (c *corked) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held == nil {
		return c.Conn.Write(b)
	}
	c.held.b = append(c.held.b, b...)
	return len(b), nil
}

// buffer is for bytes on their way out. An idle connection has none.
type buffer struct{ b []byte }

var buffers = sync.Pool{New: func() any { return &buffer{b: make([]byte, 0, 4<<10)} }}

// keepLimit is how large a buffer is kept for others: what one grows to that takes what a connection may owe.
const keepLimit = 3 * backlog

func takeBuffer() *buffer { return buffers.Get().(*buffer) }

func (b *buffer) free() {
	if cap(b.b) <= keepLimit {
		b.b = b.b[:0]
		buffers.Put(b)
	}
}
