package h2

import (
	"encoding/binary"
	"errors"
	"net/http"
	"slices"
	"time"

	"golang.org/x/net/http2"
)

// next reads a frame and does what it says. Its errors end the connection.
func (c *conn) next() error {
	head, err := c.framer.ReadFrameHeader()
	if err != nil {
		return err
	}
	if head.Type == http2.FrameWindowUpdate {
		return c.hearWindow(head)
	}
	f, err := c.framer.ReadFrameForHeader(head)
	if err != nil {
		return c.malformed(err)
	}
	switch f := f.(type) {
	case *http2.MetaHeadersFrame:
		return c.hearHeaders(f)
	case *http2.DataFrame:
		return c.hearData(f)
	case *http2.RSTStreamFrame:
		return c.hearReset(f)
	case *http2.SettingsFrame:
		return c.hearSettings(f)
	case *http2.PingFrame:
		return c.hearPing(f)
	case *http2.PriorityFrame:
		if f.StreamDep == f.StreamID {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.reset(f.StreamID, http2.ErrCodeProtocol)
		}
		return nil // there are no priorities any more
	case *http2.PushPromiseFrame:
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	return nil // GOAWAY is about what a server would begin; what is not known is ignored
}

// malformed answers what is wrong with a frame of one stream. Anything else ends the connection.
func (c *conn) malformed(err error) error {
	var bad http2.StreamError
	if !errors.As(err, &bad) {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if bad.StreamID > c.last && bad.StreamID%2 == 1 {
		c.last = bad.StreamID
	}
	c.reset(bad.StreamID, bad.Code)
	return c.overrun()
}

// mostOwed bounds the answers to frames that need one each, to a client that does not read them.
const mostOwed = 1 << 20

func (c *conn) overrun() error {
	if c.out != nil && len(c.out.b) > mostOwed {
		return http2.ConnectionError(http2.ErrCodeEnhanceYourCalm)
	}
	return nil
}

func (c *conn) hearSettings(f *http2.SettingsFrame) error {
	if f.IsAck() {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	err := f.ForeachSetting(func(s http2.Setting) error {
		if err := s.Valid(); err != nil {
			return err
		}
		switch s.ID {
		case http2.SettingHeaderTableSize:
			c.fields.setLimit(s.Val)
		case http2.SettingMaxFrameSize:
			c.maxFrame = min(int(s.Val), maxFrame)
		case http2.SettingInitialWindowSize:
			grown := int64(s.Val) - c.initial
			c.initial = int64(s.Val)
			for _, st := range c.streams {
				if st.window += grown; st.window > maxWindow {
					return http2.ConnectionError(http2.ErrCodeFlowControl)
				}
				st.changed.Broadcast()
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	c.head(0, http2.FrameSettings, http2.FlagSettingsAck, 0)
	c.flushLater()
	return c.overrun()
}

func (c *conn) hearPing(f *http2.PingFrame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.IsAck() {
		if f.Data == lastCallPing {
			c.part()
		}
		return nil
	}
	c.ping(true, f.Data)
	c.flushLater()
	return c.overrun()
}

// maxWindow is what windows may grow to (RFC 9113, section 6.9.1).
const maxWindow = 1<<31 - 1

// hearWindow reads the frame itself: a client that receives a large answer sends one with every few kilobytes, and the framer makes each
// anew (RFC 9113, section 6.9).
func (c *conn) hearWindow(f http2.FrameHeader) error {
	if f.Length != 4 {
		return http2.ConnectionError(http2.ErrCodeFrameSize)
	}
	data, err := c.in.Peek(4)
	if err != nil {
		return err
	}
	increment := int64(binary.BigEndian.Uint32(data) &^ (1 << 31)) // the first bit is reserved
	_, _ = c.in.Discard(4)
	switch {
	case increment == 0 && f.StreamID == 0:
		return http2.ConnectionError(http2.ErrCodeProtocol)
	case increment == 0:
		return c.malformed(http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeProtocol})
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.StreamID == 0 {
		if c.window += increment; c.window > maxWindow {
			return http2.ConnectionError(http2.ErrCodeFlowControl)
		}
		c.admit()
		return nil
	}
	st := c.streams[f.StreamID]
	if st == nil {
		return c.unknown(f.StreamID)
	}
	if st.window += increment; st.window > maxWindow {
		c.reset(f.StreamID, http2.ErrCodeFlowControl)
	}
	st.changed.Broadcast()
	return nil
}

// unknown refuses frames on streams that have never been begun; those that have ended may still be told of something.
func (c *conn) unknown(id uint32) error {
	if id%2 == 0 || id > c.last && c.going < gone {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	return nil
}

func (c *conn) hearReset(f *http2.RSTStreamFrame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	st := c.streams[f.StreamID]
	if st == nil {
		return c.unknown(f.StreamID)
	}
	c.drop(st, http2.StreamError{StreamID: f.StreamID, Code: f.ErrCode})
	return nil
}

func (c *conn) hearData(f *http2.DataFrame) error {
	size, data := int64(f.Length), f.Data()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.credit -= size; c.credit < 0 {
		return http2.ConnectionError(http2.ErrCodeFlowControl)
	}
	st := c.streams[f.StreamID]
	if st == nil || st.heard {
		c.refund(nil, size)
		if c.ignores(f.StreamID) {
			return nil
		}
		if err := c.unknown(f.StreamID); err != nil {
			return err
		}
		c.reset(f.StreamID, http2.ErrCodeStreamClosed)
		return c.overrun()
	}
	if st.credit -= size; st.credit < 0 {
		c.refund(nil, size)
		c.reset(f.StreamID, http2.ErrCodeFlowControl)
		return nil
	}
	c.refund(st, size-int64(len(data)))
	st.received += int64(len(data))
	if st.length >= 0 && (st.received > st.length || f.StreamEnded() && st.received < st.length) {
		c.refund(nil, int64(len(data)))
		c.reset(f.StreamID, http2.ErrCodeProtocol)
		return nil
	}
	if st.unwanted {
		c.refund(nil, int64(len(data)))
	} else {
		st.body = append(st.body, data...)
	}
	if f.StreamEnded() {
		c.bodyEnds(st)
	}
	st.changed.Broadcast()
	return nil
}

// bodyEnds is for when the client has said all about a request.
func (c *conn) bodyEnds(st *stream) {
	st.heard = true
	st.changed.Broadcast()
	if st.answered {
		c.forget(st)
	}
	if st.held {
		c.begin(st)
	}
}

// refund tells the client at times that it may send as much again as has been taken; st is nil for a stream of which nothing more is
// wanted.
func (c *conn) refund(st *stream, n int64) {
	if n == 0 {
		return
	}
	if c.taken += n; c.taken >= refundAt {
		c.windowUpdate(0, c.taken)
		c.credit += c.taken
		c.taken = 0
		c.flushLater()
	}
	if st == nil || st.heard || st.err != nil {
		return
	}
	if st.taken += n; st.taken >= refundAt {
		c.windowUpdate(st.id, st.taken)
		st.credit += st.taken
		st.taken = 0
		c.flushLater()
	}
}

func (c *conn) hearHeaders(f *http2.MetaHeadersFrame) error {
	id := f.StreamID
	if id%2 == 0 {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.used = true
	if st := c.streams[id]; st != nil {
		return c.hearTrailer(st, f)
	}
	if c.ignores(id) {
		return nil
	}
	if id <= c.last {
		return http2.ConnectionError(http2.ErrCodeStreamClosed)
	}
	c.last = id
	if f.HasPriority() && f.Priority.StreamDep == id {
		c.reset(id, http2.ErrCodeProtocol)
		return c.overrun()
	}
	if most := c.server.maxStreams(); uint32(len(c.streams)) >= most || uint32(c.running) >= most {
		// Streams that are given up keep their handlers until these have noticed.
		if c.refused++; c.refused > 4*most {
			return http2.ConnectionError(http2.ErrCodeEnhanceYourCalm)
		}
		c.reset(id, http2.ErrCodeRefusedStream)
		return c.overrun()
	}
	c.refused = 0
	if f.Truncated {
		c.headers(id, http.StatusRequestHeaderFieldsTooLarge, nil, true)
		if !f.StreamEnded() {
			c.reset(id, http2.ErrCodeNo)
		}
		c.flushLater()
		return c.overrun()
	}
	st, ok := c.newStream(f)
	if !ok {
		c.reset(id, http2.ErrCodeProtocol)
		return c.overrun()
	}
	c.streams[id] = st
	if st.mayHold() && c.held+st.length <= mostHeld {
		st.held = true
		c.held += st.length
		c.lookForSlow()
		return nil
	}
	c.begin(st)
	return nil
}

const (
	// A handler runs when the body of its request is there, if that is small: it need not wait then.
	mayHold = 64 << 10
	// mostHeld is how much may be waited for on a connection, at once; it leaves room in the window for other bodies.
	mostHeld = recvWindow / 2
	// slowTime is after how long a handler runs all the same, about.
	slowTime = time.Second
)

// lookForSlow looks, from time to time, for requests whose bodies do not come.
func (c *conn) lookForSlow() {
	if c.looks {
		return
	}
	c.looks = true
	time.AfterFunc(slowTime, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.looks = false
		if c.err != nil {
			return
		}
		for _, st := range c.streams {
			switch {
			case !st.held:
			case st.slow:
				c.begin(st)
			default:
				st.slow = true
				c.lookForSlow()
			}
		}
	})
}

// begin has the handler run.
func (c *conn) begin(st *stream) {
	c.unhold(st)
	c.running++
	st.turn.Begin()
}

// unhold is for a body that is waited for no more, and tells whether it was.
func (c *conn) unhold(st *stream) bool {
	if !st.held {
		return false
	}
	st.held = false
	c.held -= st.length
	return true
}

// drop ends a stream that is given up.
func (c *conn) drop(st *stream, err error) {
	if c.unhold(st) {
		st.discard()
	}
	st.shut(err)
	c.forget(st)
}

// ignores tells the streams on which the client may send what it does not yet know to be in vain.
func (c *conn) ignores(id uint32) bool {
	return id > c.last && c.going >= gone || slices.Contains(c.cut[:], id)
}

// forget is for when nothing more is to be said about a stream.
func (c *conn) forget(st *stream) {
	delete(c.streams, st.id)
	c.used = true
	c.close()
}

// reset gives a stream up and tells the client.
func (c *conn) reset(id uint32, code http2.ErrCode) {
	if st := c.streams[id]; st != nil {
		c.drop(st, http2.StreamError{StreamID: id, Code: code})
	}
	c.cut[c.cuts%len(c.cut)] = id
	c.cuts++
	c.rst(id, code)
	c.flushLater()
}
