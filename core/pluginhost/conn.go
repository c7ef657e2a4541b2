package pluginhost

import (
	"context"
	"errors"
	"path"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

// patience is how long a call waits for a plugin that is down, if its context allows so much.
const patience = 10 * time.Second

var errStarting = errors.New("it is being started")

// conn is the connection to whichever process serves the plugin now. It adds nothing to a call but the
// look-up of that connection.
type conn struct {
	name string

	mu      sync.Mutex
	current *line
	reason  error
	changed chan struct{}
}

// line is a connection with the calls that are on it.
type line struct {
	*grpc.ClientConn
	passage *passage // may be nil
	calls   int
	// idle is closed when there are none any more; nil as long as there may be new ones.
	idle chan struct{}
}

var _ grpc.ClientConnInterface = (*conn)(nil)

func newConn(name string) *conn {
	return &conn{name: name, reason: errStarting, changed: make(chan struct{})}
}

// set says where calls go from now on, or with nil why nowhere. The channel that it returns is closed when the calls on
// the connection before have been answered.
func (c *conn) set(to *line, reason error) (answered <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	idle := make(chan struct{})
	if before := c.current; before != nil && before.calls > 0 {
		before.idle = idle
	} else {
		close(idle)
	}
	c.current, c.reason = to, reason
	close(c.changed)
	c.changed = make(chan struct{})
	return idle
}

// take returns the present connection with one more call on it.
func (c *conn) take() (*line, <-chan struct{}, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current != nil {
		c.current.calls++
	}
	return c.current, c.changed, c.reason
}

func (c *conn) give(l *line) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if l.calls--; l.calls == 0 && l.idle != nil {
		close(l.idle)
		l.idle = nil
	}
}

func (c *conn) present() *line {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.current
}

// wait returns a connection, which has to be given back.
func (c *conn) wait(ctx context.Context) (*line, error) {
	l, changed, reason := c.take()
	if l != nil {
		return l, nil
	}
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for {
		select {
		case <-changed:
			if l, changed, reason = c.take(); l != nil {
				return l, nil
			}
		case <-ctx.Done():
			return nil, status.Errorf(codes.Unavailable, "plugin %s is down: %v: %v", c.name, reason, ctx.Err())
		case <-limit.C:
			return nil, status.Errorf(codes.Unavailable, "plugin %s is down: %v", c.name, reason)
		}
	}
}

// Invoke implements grpc.ClientConnInterface.
func (c *conn) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) (err error) {
	defer func(began time.Time) { observe(c.name, method, began, err) }(time.Now())
	return c.call(ctx, method, func(to *grpc.ClientConn, more ...grpc.CallOption) error {
		return to.Invoke(ctx, method, args, reply, append(more, opts...)...)
	})
}

// NewStream implements grpc.ClientConnInterface. Streams are not waited for when a process is replaced: whoever reads
// one begins anew.
func (c *conn) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (stream grpc.ClientStream, err error) {
	err = c.call(ctx, method, func(to *grpc.ClientConn, more ...grpc.CallOption) (err error) {
		stream, err = to.NewStream(ctx, desc, method, append(more, opts...)...)
		return err
	})
	return stream, err
}

// call makes a call where it can be made soonest, and again where nobody has seen it.
func (c *conn) call(ctx context.Context, method string, begin func(to *grpc.ClientConn, more ...grpc.CallOption) error) error {
	for {
		l, err := c.wait(ctx)
		if err != nil {
			return err
		}
		var to peer.Peer
		if l.passage.open(method) {
			err = begin(l.passage.ClientConn, grpc.Peer(&to))
			if status.Code(err) != codes.Unavailable || to.Addr != nil {
				c.give(l)
				return c.named(ctx, method, err)
			}
			// Nobody listens any more, and has not seen it. The plugin knows why, or waits for somebody.
		}
		// Waiting lets a call wait on a connection that has just broken, until the host has noticed and closes it.
		err = begin(l.ClientConn, grpc.WaitForReady(true), grpc.Peer(&to))
		again := c.unsent(ctx, l, &to, err)
		c.give(l)
		if !again {
			return c.named(ctx, method, err)
		}
	}
}

// named adds who was called to errors that are not the plugin's own. A call that was cut off because its connection was
// given up is one to a plugin that is not there: its caller has not cancelled it.
func (c *conn) named(ctx context.Context, method string, err error) error {
	code := status.Code(err)
	if code == codes.Canceled && ctx.Err() == nil {
		code = codes.Unavailable
	}
	switch code {
	case codes.Unavailable, codes.DeadlineExceeded, codes.ResourceExhausted:
		return status.Errorf(code, "plugin %s: %s: %s", c.name, path.Base(method), status.Convert(err).Message())
	}
	return err
}

// unsent says that a call was still waiting when its connection was given up: whom a call was sent to is in to. A call that the plugin may have seen is
// never made again: it fails, whether the end of the plugin's process or the host's closing of the connection cut it off.
func (c *conn) unsent(ctx context.Context, l *line, to *peer.Peer, err error) bool {
	return status.Code(err) == codes.Canceled && ctx.Err() == nil && to.Addr == nil && c.present() != l
}
