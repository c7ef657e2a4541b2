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
	c.held = c.held.with(len(b))
	c.held.b = append(c.held.b, b...)
	return len(b), nil
}

// buffer is for bytes on their way out. An idle connection has none.
type buffer struct{ b []byte }

const (
	smallBuffer = 4 << 10
	// largeBuffer has room for what a connection may owe, a frame more, and the records' heads.
	largeBuffer = backlog + maxFrame + 8<<10
)

// Buffers of two sizes are kept: one that grew bit by bit would be copied, and cleared, at each step.
var (
	smallBuffers = sync.Pool{New: func() any { return &buffer{make([]byte, 0, smallBuffer)} }}
	largeBuffers = sync.Pool{New: func() any { return &buffer{make([]byte, 0, largeBuffer)} }}
)

func takeBuffer() *buffer { return smallBuffers.Get().(*buffer) }

// with returns a buffer with what b has and room for n bytes; b is not to be used any more.
func (b *buffer) with(n int) *buffer {
	if need := len(b.b) + n; need <= cap(b.b) || need > largeBuffer {
		return b // what is larger still grows by append
	}
	large := largeBuffers.Get().(*buffer)
	large.b = append(large.b, b.b...)
	b.free()
	return large
}

func (b *buffer) free() {
	n := cap(b.b)
	b.b = b.b[:0]
	switch n {
	case smallBuffer:
		smallBuffers.Put(b)
	case largeBuffer:
		largeBuffers.Put(b)
	}
}
