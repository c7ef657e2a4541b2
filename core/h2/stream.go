package h2

import (
	"errors"
	"io"
	"net/http"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"golang.org/x/net/http2"

	"github.com/gantryio/gantry/core/lazy"
	"github.com/gantryio/gantry/core/turns"
)

// stream is a request and its answer, and the request's context. What others than the handler use is guarded by the connection's lock.
type stream struct {
	*lazy.Context
	c    *conn
	id   uint32
	turn turns.Call
	req  *http.Request
	res  response

	changed  sync.Cond // more may be written, more can be read of the body, or it has ended
	queued   bool      // it waits for room on the connection
	err      error     // why it has ended before its time
	heard    bool      // the client has said all
	answered bool      // so has the handler
	window   int64     // what may be sent
	writeBy  time.Time

	// The request's body.
	length   int64 // declared, -1 if not
	received int64
	body     []byte // what has been received and not been read, from off on
	off      int
	credit   int64 // what the client may send
	taken    int64 // bytes since it was last told that it may send more
	readBy   time.Time
	unwanted bool // nobody is going to read it
	expects  bool // the client waits to be told to send it
	held     bool // the handler does not run before it is there
	slow     bool
}

// newStream is called with the lock; it returns false for a malformed request.
func (c *conn) newStream(f *http2.MetaHeadersFrame) (*stream, bool) {
	st := &stream{c: c, id: f.StreamID, window: c.initial, credit: recvWindow, heard: f.StreamEnded()}
	st.Context = lazy.New(c.ctx, time.Time{})
	st.turn.Peer, st.turn.Run = c.peer, st
	if !st.parse(f) {
		st.End()
		return nil, false
	}
	st.res.st = st
	st.changed.L = &c.mu
	st.res.length = -1
	if !st.heard {
		st.req.Body = (*body)(st)
	}
	return st, true
}

// mayHold tells whether the handler can wait for the body.
func (st *stream) mayHold() bool {
	return !st.heard && !st.expects && st.length > 0 && st.length <= mayHold
}

// shut ends what still happens on the stream.
func (st *stream) shut(err error) {
	if st.err == nil {
		st.err = err
	}
	st.End()
	st.changed.Broadcast()
}

// Done implements context.Context: who asks for it is going to wait.
func (st *stream) Done() <-chan struct{} {
	st.turn.Yield()
	return st.Context.Done()
}

// Value implements context.Context.
func (st *stream) Value(key any) any {
	if key == turns.Key {
		return &st.turn
	}
	return st.Context.Value(key)
}

// Run has the handler run, for it is the request's turn.
func (st *stream) Run() { st.c.server.workers.run(st) }

// handle runs the handler. It is on a goroutine of its own.
func (st *stream) handle() {
	defer st.done()
	defer func() {
		cause := recover()
		if cause == nil {
			return
		}
		st.res.broken = true
		st.failed(cause)
	}()
	if st.Err() == nil { // else it was given up before its turn
		st.c.handler.ServeHTTP(&st.res, st.req)
	}
}

// failed logs a panic.
func (st *stream) failed(cause any) {
	if cause != http.ErrAbortHandler && st.c.errorLog != nil {
		st.c.errorLog.Printf("h2: panic serving %s: %v\n%s", st.c.remote, cause, debug.Stack())
	}
}

// done ends the answer.
func (st *stream) done() {
	c := st.c
	if !st.res.broken {
		st.res.finish()
	}
	st.turn.End()
	st.End()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running--
	st.unwanted = true
	st.discard()
	switch {
	case c.err != nil || st.err != nil:
	case !st.answered:
		c.reset(st.id, http2.ErrCodeInternal)
	case !st.heard:
		// The answer is complete without the rest of the request (RFC 9113, section 8.1).
		c.reset(st.id, http2.ErrCodeNo)
	}
	c.close()
}

// body is the request's, for its handler.
type body stream

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	st := (*stream)(b)
	c := st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if st.expects {
		st.expects = false
		if st.err == nil && !st.heard && !st.res.begun {
			c.inform(st, http.StatusContinue, nil)
			c.flushLater()
		}
	}
	for {
		switch {
		case st.unwanted:
			return 0, http.ErrBodyReadAfterClose
		case st.off < len(st.body):
			n := copy(p, st.body[st.off:])
			if st.off += n; st.off == len(st.body) {
				st.body, st.off = st.body[:0], 0
			}
			c.refund(st, int64(n))
			return n, nil
		case st.err != nil:
			return 0, st.err
		case st.heard:
			return 0, io.EOF
		case expired(st.readBy):
			return 0, os.ErrDeadlineExceeded
		case len(p) == 0:
			return 0, nil
		}
		st.waitUntil(st.readBy)
	}
}

// Whole returns a body that is all there and has not been read from, without a copy of it: it is the caller's then, and nothing is left
// to read. Any other body it leaves as it is, and returns false.
func (b *body) Whole() (data []byte, ok bool) {
	st := (*stream)(b)
	st.c.mu.Lock()
	defer st.c.mu.Unlock()
	if !st.heard || st.unwanted || st.off > 0 || len(st.body) == 0 {
		return nil, false
	}
	data, st.body = st.body, nil
	st.c.refund(st, int64(len(data)))
	return data, true
}

// Close implements io.Closer. What has not been read is not wanted.
func (b *body) Close() error {
	st := (*stream)(b)
	st.c.mu.Lock()
	defer st.c.mu.Unlock()
	st.unwanted = true
	st.discard()
	return nil
}

// discard is for a body of which nothing more is wanted.
func (st *stream) discard() {
	if st.c.err == nil {
		st.c.refund(st, int64(len(st.body)-st.off))
	}
	st.body, st.off = nil, 0
}

// setDeadline changes one of the stream's two, also for who waits already.
func (st *stream) setDeadline(which *time.Time, t time.Time) error {
	st.c.mu.Lock()
	defer st.c.mu.Unlock()
	*which = t
	st.changed.Broadcast()
	return nil
}

func expired(deadline time.Time) bool { return !deadline.IsZero() && !time.Now().Before(deadline) }

// waitUntil returns when something has changed, or it is time; without a limit if that is zero. It may return early.
func (st *stream) waitUntil(deadline time.Time) {
	st.turn.Yield()
	if !deadline.IsZero() {
		defer time.AfterFunc(time.Until(deadline), st.changed.Broadcast).Stop()
	}
	st.changed.Wait()
}

// hearTrailer takes the fields that come after a request's body.
func (c *conn) hearTrailer(st *stream, f *http2.MetaHeadersFrame) error {
	if st.heard {
		c.reset(st.id, http2.ErrCodeStreamClosed)
		return nil
	}
	if !f.StreamEnded() || len(f.PseudoFields()) > 0 || st.length >= 0 && st.received != st.length {
		c.reset(st.id, http2.ErrCodeProtocol)
		return nil
	}
	for _, hf := range f.RegularFields() {
		name := c.canonical(hf.Name)
		if _, declared := st.req.Trailer[name]; declared {
			st.req.Trailer[name] = append(st.req.Trailer[name], hf.Value)
		}
	}
	c.bodyEnds(st)
	return nil
}

var errShut = errors.New("h2: the stream has ended")
