// Package h2 serves HTTP/2 connections (RFC 9113) to net/http's handlers.
//
// It exists because an API server's requests are small and many: in net/http's own HTTP/2 every frame passes through a goroutine
// of its connection, and each request runs on a new goroutine whose stack has to grow. Here a handler's goroutine writes its
// answer itself, together with what others have to write to the same connection at the time, and goroutines are used again.
// Frames are parsed, and header fields encoded, by golang.org/x/net. net/http still accepts connections, does TLS and serves
// HTTP/1.1: see [Server.Attach].
//
// Answers that go on, such as watches, are written to by a [Task].
//
// Handlers begin in turns, those of one caller after those of another (see core/turns). A handler gives its turn away when it waits, for its
// client or, by asking for it, for the end of its context; those that wait for something else call [turns.Yield].
//
// What a connection may cost is bounded: requests by MaxStreams, of which those that are refused or given up in vain are counted;
// header fields by MaxHeaderBytes; bodies that nobody has read yet by a window of 1 MiB; answers that the client does not take by
// 64 KiB, and a connection that takes nothing at all for half a minute is closed.
package h2

import (
	"context"
	"crypto/tls"
	"net/http"
	"sync"
	"time"

	"github.com/gantryio/gantry/core/turns"
)

// Server has the limits of its connections, which are not changed once it is attached. It is safe for concurrent use.
type Server struct {
	// MaxStreams is how many requests a client may have open on one connection, 250 when zero. More are refused, which clients try
	// again.
	MaxStreams uint32
	// IdleTimeout is how long a connection may be without requests, about; without limit when zero.
	IdleTimeout time.Duration
	// MaxHeaderBytes bounds the header fields of a request, by the measure of RFC 9113, section 6.5.2; 1 MiB when zero.
	MaxHeaderBytes uint32

	workers workers
	turns   turns.Turns

	mu      sync.Mutex
	conns   map[*conn]struct{}
	retired bool
}

// Attach makes hs serve HTTP/2 by s, to clients that negotiate "h2" in TLS. It is called before hs serves.
func (s *Server) Attach(hs *http.Server) {
	hs.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){"h2": s.serve}
	hs.RegisterOnShutdown(s.Retire)
}

// Retire asks clients for no more requests on the connections that there are. What they have sent by then is answered, and each
// connection is closed after its last answer. It returns at once.
func (s *Server) Retire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retired = true
	for c := range s.conns {
		go c.retire()
	}
}

func (s *Server) isRetired() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.retired
}

func (s *Server) maxStreams() uint32 {
	if s.MaxStreams > 0 {
		return s.MaxStreams
	}
	return 250
}

func (s *Server) maxHeaderBytes() uint32 {
	if s.MaxHeaderBytes > 0 {
		return s.MaxHeaderBytes
	}
	return http.DefaultMaxHeaderBytes
}

// serve returns once the connection is closed; handlers may still run then, with a context that has ended.
func (s *Server) serve(hs *http.Server, nc *tls.Conn, h http.Handler) {
	ctx := context.Background()
	if b, ok := h.(interface{ BaseContext() context.Context }); ok {
		ctx = b.BaseContext()
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c := newConn(ctx, s, nc)
	c.handler, c.errorLog = h, hs.ErrorLog
	defer s.enter(c)()
	c.serve()
}

// enter returns what takes the connection off again.
func (s *Server) enter(c *conn) (leave func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns == nil {
		s.conns = map[*conn]struct{}{}
	}
	s.conns[c] = struct{}{}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.conns, c)
	}
}
