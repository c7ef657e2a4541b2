package apiserver

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"
)

// gate is a connection whose writes wait until they are let through.
type gate struct {
	net.Conn
	let    chan error
	closed chan struct{}

	mu       sync.Mutex
	writes   [][]byte
	deadline time.Time
}

func newGate() *gate { return &gate{let: make(chan error), closed: make(chan struct{})} }

func (g *gate) Write(b []byte) (int, error) {
	if err := <-g.let; err != nil {
		return 0, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.writes = append(g.writes, bytes.Clone(b))
	return len(b), nil
}

func (g *gate) SetWriteDeadline(t time.Time) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.deadline = t
	return nil
}

func (g *gate) Close() error { close(g.closed); return nil }

func (g *gate) seen() ([][]byte, time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.writes, g.deadline
}

func TestGatheredWrites(t *testing.T) {
	under := newGate()
	c := newGathered(under)
	for _, part := range []string{"one", "two", "three"} { // none of them waits for the gate
		if n, err := c.Write([]byte(part)); n != len(part) || err != nil {
			t.Fatalf("Write = %d, %v", n, err)
		}
	}
	// What comes after a deadline that crypto/tls sets when it closes still goes out.
	if err := c.SetWriteDeadline(time.Now()); err != nil {
		t.Fatal(err)
	}
	if _, at := under.seen(); !at.IsZero() {
		t.Errorf("a deadline that has passed was set before the writes were done")
	}
	closed := make(chan error)
	go func() { closed <- c.Close() }()
	for done := false; !done; {
		select {
		case under.let <- nil:
		case err := <-closed:
			done = true
			if err != nil {
				t.Error(err)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("Close hangs")
		}
	}
	writes, at := under.seen()
	if got := bytes.Join(writes, nil); string(got) != "onetwothree" {
		t.Errorf("wrote %q", writes)
	}
	if len(writes) == 3 {
		t.Errorf("three writes were not gathered: %q", writes)
	}
	if at.IsZero() {
		t.Error("the deadline was forgotten")
	}
	if _, err := c.Write([]byte("late")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Write after Close = %v", err)
	}
}

func TestGatheredWritesWaitWhenMuchIsOwed(t *testing.T) {
	under := newGate()
	c := newGathered(under)
	big := make([]byte, gatherLimit+1)
	for range 2 { // the first may be on its way, the second is owed
		if _, err := c.Write(big); err != nil {
			t.Fatal(err)
		}
	}
	third := make(chan error, 1)
	go func() {
		_, err := c.Write(big)
		third <- err
	}()
	broken := errors.New("broken")
	for range 2 {
		select {
		case under.let <- nil:
		case <-time.After(10 * time.Second):
			t.Fatal("nothing is written")
		}
	}
	select {
	case err := <-third:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("a writer waits though little is owed")
	}
	under.let <- broken
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if _, err := c.Write(big); !errors.Is(err, broken) {
		t.Errorf("Write = %v, want the error of the write before", err)
	}
}

// TestGatheredStall is about a real connection whose peer does not read.
func TestGatheredStall(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	peer, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	c, err := Gather(l).Accept()
	if err != nil {
		t.Fatal(err)
	}
	stuck := make(chan error, 1)
	go func() {
		for {
			if _, err := c.Write(make([]byte, 1<<20)); err != nil {
				stuck <- err
				return
			}
		}
	}()
	if err := c.SetWriteDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-stuck:
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Write = %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("a deadline does not end a write")
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if _, err := io.Copy(io.Discard, peer); err != nil {
		t.Errorf("the peer reads what was written before: %v", err)
	}
}
