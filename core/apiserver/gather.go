package apiserver

import (
	"net"
	"sync"
	"time"
)

const (
	// gatherLimit is how many bytes a connection may owe before those who write to it wait.
	gatherLimit = 64 << 10
	// largeBuffer has room for what is written when the limit is just not reached, a TLS record.
	largeBuffer = gatherLimit + 24<<10
	// keepLimit is how large a buffer an idle connection keeps.
	keepLimit = 4 << 10
	// closeTime is how long a peer that does not read may hold up Close, as in crypto/tls.
	closeTime = 5 * time.Second
)

// Gather lets connections write in one system call what is written to them at about the same time. net/http sends the head of an
// HTTP/2 answer on its own, before the body that is there already; for a small answer a second write is a sixth of the server's
// work. It goes below TLS.
func Gather(l net.Listener) net.Listener { return gatherer{l} }

type gatherer struct{ net.Listener }

// Accept implements net.Listener.
func (g gatherer) Accept() (net.Conn, error) {
	c, err := g.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return newGathered(c), nil
}

// gathered is a connection whose writes are done by another goroutine, which comes to run when the writers have nothing else to
// do or another processor is free. An error of a write is that of the next one. There is one writer at a time, TLS.
type gathered struct {
	net.Conn

	mu       sync.Mutex
	wake     sync.Cond // flushing has ended, or the debt has shrunk
	debt     []byte    // accepted and not yet written
	spare    []byte
	flushing bool
	waiting  bool // a writer, for the debt to shrink
	err      error
	expired  bool // a deadline that has passed is to be set once flushing has ended
}

func newGathered(c net.Conn) *gathered {
	g := &gathered{Conn: c}
	g.wake.L = &g.mu
	return g
}

// Write implements io.Writer.
func (g *gathered) Write(b []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.err == nil && len(g.debt) > gatherLimit {
		g.waiting = true
		g.wake.Wait()
	}
	g.waiting = false
	if g.err != nil {
		return 0, g.err
	}
	g.owe(b)
	if !g.flushing {
		g.flushing = true
		go g.flush()
	}
	return len(b), nil
}

// largeBuffers are for connections that owe much at the moment.
var largeBuffers = sync.Pool{New: func() any { return new([largeBuffer]byte) }}

// owe appends to the debt. What does not fit into the small buffer that a connection keeps goes into one that all share, rather than
// into one that grows.
func (g *gathered) owe(b []byte) {
	if n := len(g.debt); cap(g.debt) < n+len(b) && n+len(b) > keepLimit && n+len(b) <= largeBuffer {
		large := largeBuffers.Get().(*[largeBuffer]byte)
		g.debt = append(large[:0], g.debt...)
	}
	g.debt = append(g.debt, b...)
}

// spend takes a buffer that has been written.
func (g *gathered) spend(b []byte) {
	if b = b[:cap(b)]; len(b) == largeBuffer {
		largeBuffers.Put((*[largeBuffer]byte)(b))
	} else if len(b) <= keepLimit {
		g.spare = b[:0]
	}
}

func (g *gathered) flush() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for len(g.debt) > 0 && g.err == nil {
		due := g.debt
		g.debt, g.spare = g.spare, nil
		g.wake.Broadcast()
		g.mu.Unlock()
		_, err := g.Conn.Write(due)
		g.mu.Lock()
		g.err = err
		g.spend(due)
	}
	g.flushing = false
	if g.expired {
		_ = g.Conn.SetWriteDeadline(time.Unix(1, 0))
	}
	g.wake.Broadcast()
}

// SetWriteDeadline implements net.Conn. One that has passed is for writes to come, not for those that have been accepted:
// crypto/tls sets it after its last word.
func (g *gathered) SetWriteDeadline(t time.Time) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.expired = !t.IsZero() && !t.After(time.Now()) && g.flushing && !g.waiting
	if g.expired {
		return nil
	}
	return g.Conn.SetWriteDeadline(t)
}

// SetDeadline implements net.Conn.
func (g *gathered) SetDeadline(t time.Time) error {
	if err := g.Conn.SetReadDeadline(t); err != nil {
		return err
	}
	return g.SetWriteDeadline(t)
}

// Close implements net.Conn. It writes what has been accepted, but does not wait long for a peer that does not read.
func (g *gathered) Close() error {
	g.mu.Lock()
	if g.flushing {
		if !g.expired { // else it has a deadline already
			_ = g.Conn.SetWriteDeadline(time.Now().Add(closeTime))
		}
		for g.flushing {
			g.wake.Wait()
		}
	}
	if g.err == nil {
		g.err = net.ErrClosed
	}
	g.mu.Unlock()
	return g.Conn.Close()
}
