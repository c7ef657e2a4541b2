package pluginhost

import (
	"context"
	"errors"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
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
	current *grpc.ClientConn
	reason  error
	changed chan struct{}
}

var _ grpc.ClientConnInterface = (*conn)(nil)

func newConn(name string) *conn {
	return &conn{name: name, reason: errStarting, changed: make(chan struct{})}
}

// set says where calls go from now on, or with nil why nowhere.
func (c *conn) set(cc *grpc.ClientConn, reason error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.current, c.reason = cc, reason
	close(c.changed)
	c.changed = make(chan struct{})
}

func (c *conn) get() (*grpc.ClientConn, <-chan struct{}, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.current, c.changed, c.reason
}

func (c *conn) wait(ctx context.Context) (*grpc.ClientConn, error) {
	cc, changed, reason := c.get()
	if cc != nil {
		return cc, nil
	}
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for {
		select {
		case <-changed:
			if cc, changed, reason = c.get(); cc != nil {
				return cc, nil
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
	for {
		cc, err := c.wait(ctx)
		if err != nil {
			return err
		}
		err = cc.Invoke(ctx, method, args, reply, waiting(opts)...)
		if !c.unsent(ctx, cc, err) {
			return err
		}
	}
}

// NewStream implements grpc.ClientConnInterface.
func (c *conn) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	for {
		cc, err := c.wait(ctx)
		if err != nil {
			return nil, err
		}
		stream, err := cc.NewStream(ctx, desc, method, waiting(opts)...)
		if !c.unsent(ctx, cc, err) {
			return stream, err
		}
	}
}

// waiting lets a call wait on a connection that has just broken, until the host has noticed and closes it.
func waiting(opts []grpc.CallOption) []grpc.CallOption {
	return append([]grpc.CallOption{grpc.WaitForReady(true)}, opts...)
}

// unsent says that a call was still waiting when its connection was given up. A call that the plugin may
// have seen fails with codes.Unavailable instead, as soon as the plugin's process ends.
func (c *conn) unsent(ctx context.Context, cc *grpc.ClientConn, err error) bool {
	if status.Code(err) != codes.Canceled || ctx.Err() != nil {
		return false
	}
	current, _, _ := c.get()
	return current != cc
}
