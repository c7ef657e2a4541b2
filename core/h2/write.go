package h2

import (
	"cmp"
	"encoding/binary"
	"net/http"
	"os"
	"runtime"
	"time"

	"golang.org/x/net/http2"
)

const (
	// maxFrame is the size of frames that every client takes (RFC 9113, section 4.2).
	maxFrame  = 16 << 10
	frameHead = 9
	// backlog is how many bytes a connection may owe before those who answer on it wait.
	backlog = 64 << 10
	// writeTime is how long a client may take nothing at all, about.
	writeTime = 30 * time.Second
)

// What follows appends to what goes out, and is called with the lock.

// head begins a frame whose payload of n bytes is to be appended to c.out.b next.
func (c *conn) head(n int, kind http2.FrameType, flags http2.Flags, id uint32) {
	if c.out == nil {
		c.out = takeBuffer()
	}
	c.out = c.out.with(frameHead + n)
	c.out.b = append(c.out.b, byte(n>>16), byte(n>>8), byte(n), byte(kind), byte(flags))
	c.out.b = binary.BigEndian.AppendUint32(c.out.b, id)
}

func (c *conn) settings(all ...http2.Setting) {
	c.head(6*len(all), http2.FrameSettings, 0, 0)
	for _, s := range all {
		c.out.b = binary.BigEndian.AppendUint16(c.out.b, uint16(s.ID))
		c.out.b = binary.BigEndian.AppendUint32(c.out.b, s.Val)
	}
}

func (c *conn) windowUpdate(id uint32, n int64) {
	c.head(4, http2.FrameWindowUpdate, 0, id)
	c.out.b = binary.BigEndian.AppendUint32(c.out.b, uint32(n))
}

func (c *conn) ping(ack bool, data [8]byte) {
	var flags http2.Flags
	if ack {
		flags = http2.FlagPingAck
	}
	c.head(len(data), http2.FramePing, flags, 0)
	c.out.b = append(c.out.b, data[:]...)
}

func (c *conn) goAway(last uint32, code http2.ErrCode) {
	c.head(8, http2.FrameGoAway, 0, 0)
	c.out.b = binary.BigEndian.AppendUint32(c.out.b, last)
	c.out.b = binary.BigEndian.AppendUint32(c.out.b, uint32(code))
}

func (c *conn) rst(id uint32, code http2.ErrCode) {
	c.head(4, http2.FrameRSTStream, 0, id)
	c.out.b = binary.BigEndian.AppendUint32(c.out.b, uint32(code))
}

// headers sends an answer's head, or with status 0 its trailer.
func (c *conn) headers(id uint32, status int, fields []field, end bool) {
	c.fields.begin()
	if status != 0 {
		c.fields.status(status)
	}
	for _, f := range fields {
		c.fields.write(f.name, f.value)
	}
	var flags http2.Flags
	if end {
		flags = http2.FlagHeadersEndStream
	}
	for kind, left := http2.FrameHeaders, c.fields.block; ; kind, flags = http2.FrameContinuation, 0 {
		n := min(len(left), c.maxFrame)
		if n == len(left) {
			flags |= http2.FlagHeadersEndHeaders
		}
		c.head(n, kind, flags, id)
		c.out.b = append(c.out.b, left[:n]...)
		if left = left[n:]; len(left) == 0 {
			return
		}
	}
}

// inform sends a head that is not yet the answer's.
func (c *conn) inform(st *stream, status int, header http.Header) {
	var fields []field
	if status != http.StatusContinue {
		for name, values := range header {
			if name != "Content-Length" {
				fields = appendField(fields, name, values)
			}
		}
	}
	c.headers(st.id, status, fields, false)
}

// data sends a part of an answer's body, as fast as the client takes it.
func (c *conn) data(st *stream, p []byte, end bool) error {
	for {
		n, err := c.room(st, len(p))
		if err != nil {
			return err
		}
		var flags http2.Flags
		if end && n == len(p) {
			flags = http2.FlagDataEndStream
		}
		c.head(n, http2.FrameData, flags, st.id)
		c.out.b = append(c.out.b, p[:n]...)
		st.window -= int64(n)
		c.window -= int64(n)
		c.admit()
		if p = p[n:]; len(p) == 0 {
			if end {
				c.answer(st)
			}
			return nil
		}
	}
}

// full tells that the connection owes enough.
func (c *conn) full() bool { return c.out != nil && len(c.out.b) > backlog }

// admit lets the first of those that wait for room go on; when it has taken some it admits the next.
func (c *conn) admit() {
	for len(c.queue) > 0 && c.window > 0 && !c.full() {
		st := c.queue[0]
		c.queue = c.queue[1:]
		if st.queued {
			st.queued = false
			st.changed.Broadcast()
			return
		}
	}
}

// room waits until some of n bytes may be sent on a stream, and returns how many.
func (c *conn) room(st *stream, n int) (int, error) {
	for {
		if err := cmp.Or(st.err, c.err); err != nil {
			st.queued = false
			c.admit()
			return 0, err
		}
		full := c.full()
		if n == 0 && !full {
			return 0, nil
		}
		if open := min(int64(n), int64(c.maxFrame), c.window, st.window); open > 0 && !full {
			return int(open), nil
		}
		if c.out != nil && !c.flushing {
			c.flush()
			continue
		}
		if expired(st.writeBy) {
			c.reset(st.id, http2.ErrCodeCancel)
			st.err = os.ErrDeadlineExceeded
			continue
		}
		if st.window > 0 || n == 0 { // else it waits for its own
			if !st.queued {
				st.queued = true
				c.queue = append(c.queue, st)
			}
		} else {
			c.admit()
		}
		st.waitUntil(st.writeBy)
	}
}

// answer is for when the last of an answer has been appended.
func (c *conn) answer(st *stream) {
	st.answered = true
	if st.heard {
		c.forget(st)
	}
}

// flush writes what goes out, unless another does already: then that one does. It lets go of the lock meanwhile, and is called
// where it may wait for the client.
func (c *conn) flush() {
	if c.flushing || c.out == nil {
		return
	}
	if len(c.streams) > 1 {
		c.flushing = true
		// Others who answer on this connection, if they have something already, get it into the same record.
		c.mu.Unlock()
		runtime.Gosched()
		c.mu.Lock()
		c.flushing = false
	}
	c.flushNow()
}

// flushNow is flush without looking for what others may add.
func (c *conn) flushNow() {
	if c.flushing || c.out == nil {
		return
	}
	c.flushing = true
	c.write()
	if c.out == nil || c.err != nil {
		c.flushEnds()
		return
	}
	go c.flushAll() // what has come up is not this caller's to wait for
}

// flushLater is flush where nothing may wait for the client.
func (c *conn) flushLater() {
	if c.flushing || c.out == nil || c.err != nil {
		return
	}
	c.flushing = true
	go c.flushAll()
}

func (c *conn) flushAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.out != nil && c.err == nil {
		c.write()
	}
	c.flushEnds()
}

func (c *conn) flushEnds() {
	c.flushing = false
	if c.out != nil && c.err != nil {
		c.out.free()
		c.out = nil
	}
	c.flushed.Broadcast()
	c.admit()
	c.close()
}

// write writes once.
func (c *conn) write() {
	due := c.out
	c.out = nil
	if due == nil {
		return
	}
	c.admit()
	c.mu.Unlock()
	err := c.push(due.b)
	due.free()
	c.mu.Lock()
	if err != nil && c.err == nil {
		c.endLocked(err)
		_ = c.tls.NetConn().Close() // the reader need not wait for more
	}
}

func (c *conn) push(b []byte) error {
	if now := time.Now(); c.deadline.Sub(now) < writeTime/2 {
		c.deadline = now.Add(writeTime)
		if err := c.tls.SetWriteDeadline(c.deadline); err != nil {
			return err
		}
	}
	raw, ok := c.tls.NetConn().(*corked)
	if !ok || len(b) <= maxFrame {
		_, err := c.tls.Write(b)
		return err
	}
	raw.hold()
	_, err := c.tls.Write(b)
	if released := raw.release(); err == nil {
		err = released
	}
	return err
}
