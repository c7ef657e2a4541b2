package h2

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/gantryio/gantry/core/turns"
)

const (
	// recvWindow is what a client may send before it is read, on a connection and on each of its streams.
	recvWindow = 1 << 20
	// refundAt is how much is read before the client is told that it may send as much again.
	refundAt = recvWindow / 4
	// prefaceTime is how long a client may take to begin.
	prefaceTime = 10 * time.Second
	// lingerTime is how long a connection is read from after the last word to the client, so that this reaches it.
	lingerTime = time.Second
	// lastCall is how long a client may take to see that no more requests are wanted.
	lastCall = 2 * time.Second
	// readBuffer is for the heads of frames and what comes with them; large bodies go past it.
	readBuffer = 4 << 10
)

// conn is one connection. Its reader is the goroutine that net/http serves it with.
type conn struct {
	server   *Server
	handler  http.Handler
	errorLog *log.Logger
	tls      *tls.Conn
	state    tls.ConnectionState
	remote   string
	peer     *turns.Peer
	ctx      context.Context
	cancel   context.CancelFunc

	// Of the reader alone.
	in     *bufio.Reader
	framer *http2.Framer
	names  map[string]string // canonical forms of field names that are met here

	mu      sync.Mutex
	streams map[uint32]*stream
	last    uint32 // stream that the client has begun
	running int    // handlers
	refused uint32 // streams since one was served
	held    int64  // bytes of bodies that are waited for before their handlers run
	credit  int64  // what the client may send, on the connection as a whole
	taken   int64  // bytes since the client was last told that it may send more
	used    bool   // something has happened since the last look
	look    *time.Timer
	looks   bool // slow bodies are looked for
	greeted bool
	going   going
	cut     [32]uint32 // the streams that were reset last
	cuts    int
	err     error // of the connection, once it has ended

	// What goes out; see write.go.
	out      *buffer
	flushing bool
	flushed  sync.Cond // flushing has ended
	queue    []*stream // those that wait for room, in their order
	deadline time.Time // of writes
	window   int64     // what may be sent, on the connection as a whole
	initial  int64     // the same of new streams
	maxFrame int
	fields   encoder

	tasks tasks
}

// going is how far a connection has gone towards its end.
type going int

const (
	staying going = iota
	asked         // the client has been asked for no more requests
	gone          // and knows it: what it begins from here on is not served
	closing       // nothing more is written
)

func newConn(ctx context.Context, s *Server, nc *tls.Conn) *conn {
	c := &conn{
		server: s, tls: nc, state: nc.ConnectionState(), remote: nc.RemoteAddr().String(),
		in: bufio.NewReaderSize(nc, readBuffer), names: map[string]string{},
		streams: map[uint32]*stream{}, credit: recvWindow, used: true,
		window: 65535, initial: 65535, maxFrame: maxFrame, fields: newEncoder(),
	}
	c.peer = s.turns.Peer(c.caller())
	c.ctx, c.cancel = context.WithCancel(ctx)
	c.flushed.L = &c.mu
	c.tasks.c = c
	c.framer = http2.NewFramer(io.Discard, c.in)
	c.framer.ReadMetaHeaders = hpack.NewDecoder(tableSize, nil)
	c.framer.MaxHeaderListSize = s.maxHeaderBytes()
	c.framer.SetReuseFrames()
	c.framer.SetMaxReadFrameSize(maxFrame)
	return c
}

// caller is who shares turns with others: who shows a certificate, and else all at one address.
func (c *conn) caller() string {
	if chains := c.state.VerifiedChains; len(chains) > 0 {
		return string(chains[0][0].RawSubject)
	}
	host, _, _ := net.SplitHostPort(c.remote)
	return host
}

// serve reads until the connection ends.
func (c *conn) serve() {
	defer c.peer.Leave()
	defer c.tls.NetConn().Close()
	c.watchIdle()
	err := c.greet()
	for err == nil {
		err = c.next()
	}
	c.dismiss(err)
	c.end(err)
}

// watchIdle looks from time to time, and retires the connection when nothing has happened on it since it last looked.
func (c *conn) watchIdle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	every := c.server.IdleTimeout / 2
	if every <= 0 || c.err != nil {
		return
	}
	if !c.used && len(c.streams) == 0 {
		c.retireLocked()
	}
	c.used = false
	c.look = time.AfterFunc(every, c.watchIdle)
}

// greet exchanges the first words (RFC 9113, section 3.4).
func (c *conn) greet() error {
	_ = c.tls.SetReadDeadline(time.Now().Add(prefaceTime))
	c.mu.Lock()
	c.settings(
		http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: c.server.maxStreams()},
		http2.Setting{ID: http2.SettingInitialWindowSize, Val: recvWindow},
		http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: c.server.maxHeaderBytes()},
	)
	c.windowUpdate(0, recvWindow-65535)
	if c.greeted = true; c.server.isRetired() {
		c.retireLocked()
	}
	c.flushLater()
	c.mu.Unlock()

	var preface [len(http2.ClientPreface)]byte
	if _, err := io.ReadFull(c.in, preface[:]); err != nil {
		return err
	}
	if string(preface[:]) != http2.ClientPreface {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	f, err := c.framer.ReadFrame()
	if err != nil {
		return err
	}
	settings, ok := f.(*http2.SettingsFrame)
	if !ok || settings.IsAck() {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	_ = c.tls.SetReadDeadline(time.Time{})
	return c.hearSettings(settings)
}

// retire begins the end of the connection: the client is asked for no more requests, and after its answer it is told which were
// the last (RFC 9113, section 6.8).
func (c *conn) retire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.retireLocked()
}

func (c *conn) retireLocked() {
	if !c.greeted || c.going != staying || c.err != nil { // who has not been greeted is told then
		return
	}
	c.going = asked
	c.goAway(1<<31-1, http2.ErrCodeNo)
	c.ping(false, lastCallPing)
	c.flushLater()
	time.AfterFunc(lastCall, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.part()
	})
}

var lastCallPing = [8]byte{'l', 'a', 's', 't', 'c', 'a', 'l', 'l'}

// part is for when the client knows that it may not begin more.
func (c *conn) part() {
	if c.going != asked || c.err != nil {
		return
	}
	c.going = gone
	c.goAway(c.last, http2.ErrCodeNo)
	c.flushLater()
	c.close()
}

// close ends a connection that has nothing more to do.
func (c *conn) close() {
	if c.going != gone || c.running > 0 || len(c.streams) > 0 || c.flushing || c.out != nil || c.err != nil {
		return
	}
	c.going = closing
	go func() {
		_ = c.tls.CloseWrite()
		_ = c.tls.SetReadDeadline(time.Now().Add(lingerTime))
	}()
}

// dismiss tells the client why the connection ends, when that is the client's fault, and gives that time to arrive.
func (c *conn) dismiss(err error) {
	var broken http2.ConnectionError
	switch {
	case errors.As(err, &broken):
	case errors.Is(err, http2.ErrFrameTooLarge):
		broken = http2.ConnectionError(http2.ErrCodeFrameSize)
	default:
		return
	}
	_ = c.tls.SetWriteDeadline(time.Now().Add(lingerTime))
	c.mu.Lock()
	c.goAway(c.last, http2.ErrCode(broken))
	for c.flushing && c.err == nil {
		c.flushed.Wait()
	}
	c.flush()
	c.mu.Unlock()
	c.end(err)
	_ = c.tls.CloseWrite()
	_ = c.tls.SetReadDeadline(time.Now().Add(lingerTime))
	_, _ = io.CopyN(io.Discard, c.tls, recvWindow)
}

// end lets go of all who wait for the connection. The first error counts.
func (c *conn) end(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.endLocked(err)
}

func (c *conn) endLocked(err error) {
	if c.err != nil {
		return
	}
	c.err = err
	c.cancel()
	if c.look != nil {
		c.look.Stop()
	}
	if c.out != nil && !c.flushing {
		c.out.free()
		c.out = nil
	}
	for _, st := range c.streams {
		st.shut(err)
	}
	clear(c.streams)
	c.queue = nil
	c.flushed.Broadcast()
}
