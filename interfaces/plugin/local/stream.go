package local

import (
	"context"
	"errors"
	"io"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/gantryio/gantry/interfaces/plugin"
)

// stream is both ends of one call. Messages go through unbuffered channels: a slow receiver holds the
// sender, as flow control does on a network.
type stream struct {
	ctx    context.Context
	up     chan proto.Message
	down   chan proto.Message
	closed chan struct{}
	close  sync.Once
	done   chan struct{}
	err    error
}

type clientEnd struct{ *stream }

type serverEnd struct{ *stream }

var (
	_ grpc.ClientStream = clientEnd{}
	_ grpc.ServerStream = serverEnd{}
)

func open(ctx context.Context, handle func(grpc.ServerStream) error) grpc.ClientStream {
	ctx, cancel := context.WithCancel(ctx)
	s := &stream{
		ctx: ctx, up: make(chan proto.Message), down: make(chan proto.Message),
		closed: make(chan struct{}), done: make(chan struct{}),
	}
	go func() {
		defer cancel()
		defer close(s.done)
		s.err = asStatus(handle(serverEnd{s}))
	}()
	return clientEnd{s}
}

func (s *stream) Context() context.Context     { return s.ctx }
func (s *stream) Trailer() metadata.MD         { return nil }
func (s *stream) Header() (metadata.MD, error) { return nil, nil }
func (s *stream) SetHeader(metadata.MD) error  { return nil }
func (s *stream) SendHeader(metadata.MD) error { return nil }
func (s *stream) SetTrailer(metadata.MD)       {}
func (c clientEnd) CloseSend() error           { c.close.Do(func() { close(c.closed) }); return nil }
func (c clientEnd) SendMsg(m any) error        { return c.send(c.up, m, c.done) }
func (c serverEnd) SendMsg(m any) error        { return c.send(c.down, m, nil) }

func (s *stream) send(to chan<- proto.Message, m any, gone <-chan struct{}) error {
	select {
	case to <- proto.Clone(m.(proto.Message)):
		return nil
	case <-gone:
		return io.EOF
	case <-s.ctx.Done():
		return status.FromContextError(s.ctx.Err()).Err()
	}
}

func (c clientEnd) RecvMsg(m any) error {
	select {
	case got := <-c.down:
		return transfer(m, got)
	case <-c.done:
		if c.err == nil {
			return io.EOF
		}
		return c.err
	}
}

func (c serverEnd) RecvMsg(m any) error {
	select {
	case got := <-c.up:
		return transfer(m, got)
	case <-c.closed:
		return io.EOF
	case <-c.ctx.Done():
		return status.FromContextError(c.ctx.Err()).Err()
	}
}

func asStatus(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	return plugin.ToStatus(err)
}
