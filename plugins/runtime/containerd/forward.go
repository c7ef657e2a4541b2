package containerd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // the codec named "proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// patience is how long a call waits for a containerd that is being started.
const patience = 15 * time.Second

func dial(socket string) (*grpc.ClientConn, error) {
	conn, err := grpc.NewClient("passthrough:///containerd",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 5 * time.Millisecond, Multiplier: 1.3, MaxDelay: 100 * time.Millisecond},
			MinConnectTimeout: time.Second,
		}),
		grpc.WithIdleTimeout(0),
		grpc.WithDefaultCallOptions(grpc.WaitForReady(true), grpc.MaxCallRecvMsgSize(math.MaxInt32), grpc.MaxCallSendMsgSize(math.MaxInt32)))
	if err != nil {
		return nil, fmt.Errorf("dial containerd: %w", err)
	}
	return conn, nil
}

// frame is a message that nobody reads on its way.
type frame struct{ data mem.BufferSlice }

// codec passes frames as they are and everything else as protobuf.
type codec struct{}

var _ encoding.CodecV2 = codec{}

func (codec) Name() string { return "proto" }

func (codec) Marshal(v any) (mem.BufferSlice, error) {
	if f, ok := v.(*frame); ok {
		f.data.Ref()
		return f.data, nil
	}
	return encoding.GetCodecV2("proto").Marshal(v)
}

func (codec) Unmarshal(data mem.BufferSlice, v any) error {
	if f, ok := v.(*frame); ok {
		data.Ref()
		f.data = data
		return nil
	}
	return encoding.GetCodecV2("proto").Unmarshal(data, v)
}

// both is the description of any stream.
var both = &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}

// forward carries one CRI call to containerd, whatever it is.
func (p *Plugin) forward(_ any, in grpc.ServerStream) error {
	method, ok := grpc.MethodFromServerStream(in)
	if !ok || !strings.HasPrefix(method, "/runtime.v1.") {
		return status.Errorf(codes.Unimplemented, "unknown method %s", method)
	}
	if err := p.ready(in.Context()); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(in.Context())
	defer cancel()
	if md, ok := metadata.FromIncomingContext(ctx); ok {
		ctx = metadata.NewOutgoingContext(ctx, md.Copy())
	}
	out, err := p.conn.NewStream(ctx, both, method, grpc.ForceCodecV2(codec{}))
	if err != nil {
		return err
	}
	go func() {
		if err := copyFrames(in.RecvMsg, out.SendMsg); err != nil {
			cancel()
			return
		}
		_ = out.CloseSend()
	}()
	if err := copyFrames(out.RecvMsg, in.SendMsg); err != nil {
		return err
	}
	in.SetTrailer(out.Trailer())
	return nil
}

// copyFrames moves messages until the source ends; nil then.
func copyFrames(receive, send func(any) error) error {
	for {
		var f frame
		if err := receive(&f); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		err := send(&f)
		f.data.Free()
		if errors.Is(err, io.EOF) {
			return nil // The other end is done; its own error is read from its side.
		}
		if err != nil {
			return err
		}
	}
}

// ready waits until containerd is there with its sandbox image, for a bounded time.
func (p *Plugin) ready(ctx context.Context) error {
	if p.prep.done() && p.daemon.reason() == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := p.prep.wait(ctx); err != nil {
		return status.Errorf(codes.Unavailable, "containerd is not ready: %v", errors.Join(p.daemon.reason(), err))
	}
	return nil
}

// preparation is what has to be done once before calls are let through.
type preparation struct {
	finished chan struct{}
	mu       sync.Mutex
	last     error
}

func newPreparation() *preparation { return &preparation{finished: make(chan struct{})} }

func (p *preparation) finish() { close(p.finished) }

func (p *preparation) done() bool {
	select {
	case <-p.finished:
		return true
	default:
		return false
	}
}

func (p *preparation) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = err
}

func (p *preparation) wait(ctx context.Context) error {
	select {
	case <-p.finished:
		return nil
	case <-ctx.Done():
		p.mu.Lock()
		defer p.mu.Unlock()
		return errors.Join(p.last, ctx.Err())
	}
}
