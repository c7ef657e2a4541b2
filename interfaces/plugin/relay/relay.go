// Package relay carries gRPC calls to a socket that somebody else serves without reading them. Runtime plugins are
// made of it: what they do not change costs next to nothing, and what a newer CRI adds passes, too.
package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net"
	"slices"
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
	"google.golang.org/protobuf/proto"

	"github.com/gantryio/gantry/interfaces/plugin"
)

// Dial connects to a socket, again and again when the connection breaks. Calls wait until there is one or their context
// ends, unless an option says otherwise.
func Dial(socket string, options ...grpc.DialOption) (*grpc.ClientConn, error) {
	conn, err := grpc.NewClient("passthrough:///relay", append([]grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		}),
		grpc.WithConnectParams(grpc.ConnectParams{
			// Who is away for long is noticed late by a quarter of that at most.
			Backoff:           backoff.Config{BaseDelay: 5 * time.Millisecond, Multiplier: 1.3, MaxDelay: time.Second},
			MinConnectTimeout: time.Second,
		}),
		grpc.WithIdleTimeout(0),
		grpc.WithStaticStreamWindowSize(plugin.Window), grpc.WithStaticConnWindowSize(plugin.Window),
		grpc.WithDefaultCallOptions(grpc.WaitForReady(true), grpc.MaxCallRecvMsgSize(math.MaxInt32), grpc.MaxCallSendMsgSize(math.MaxInt32)),
	}, options...)...)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", socket, err)
	}
	return conn, nil
}

// Relay carries calls to Conn. All fields are set before the first call.
type Relay struct {
	Conn *grpc.ClientConn
	// Allow says which methods are carried; the others are unimplemented.
	Allow func(method string) bool
	// Ready, if set, is waited for before a call is carried. Its error is the call's.
	Ready func(ctx context.Context) error
	// Own are the methods that are not carried but served here.
	Own map[string]grpc.StreamHandler
}

// ServerOptions make a gRPC server carry all calls for which no service is registered.
func (r *Relay) ServerOptions() []grpc.ServerOption {
	return []grpc.ServerOption{grpc.ForceServerCodecV2(codec{}), grpc.UnknownServiceHandler(r.handle)}
}

// Passage is where what begins with a prefix and is not the relay's own is carried: to a socket, that of Conn.
func (r *Relay) Passage(socket, prefix string) plugin.Passage {
	return plugin.Passage{Socket: socket, Prefix: prefix, Except: slices.Sorted(maps.Keys(r.Own))}
}

// Message is what calls are made of.
type Message = proto.Message

// Unary serves one method with one message each way.
func Unary[In, Out any, I interface {
	*In
	proto.Message
}](serve func(ctx context.Context, in I) (*Out, error),
) grpc.StreamHandler {
	return func(_ any, s grpc.ServerStream) error {
		in := I(new(In))
		if err := s.RecvMsg(in); err != nil {
			return err
		}
		out, err := serve(s.Context(), in)
		if err != nil {
			return err
		}
		return s.SendMsg(out)
	}
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

// answers is the description of a call with one message in and any number out, which is what all contracts have. With it
// the message and the end of what the caller sends are one frame.
var answers = &grpc.StreamDesc{ServerStreams: true}

func (r *Relay) handle(srv any, in grpc.ServerStream) error {
	method, ok := grpc.MethodFromServerStream(in)
	if !ok || !r.Allow(method) {
		return status.Errorf(codes.Unimplemented, "unknown method %s", method)
	}
	if r.Ready != nil {
		if err := r.Ready(in.Context()); err != nil {
			return err
		}
	}
	if own := r.Own[method]; own != nil {
		return own(srv, in)
	}
	return r.carry(method, in)
}

// carry takes one call over. It starts no goroutine, and opens the stream only when there is something to send, so that head and
// message leave together: each wake-up costs more than all that is done with the bytes.
func (r *Relay) carry(method string, in grpc.ServerStream) error {
	var request frame
	if err := in.RecvMsg(&request); err != nil {
		return err
	}
	defer request.data.Free()
	ctx, cancel := context.WithCancel(in.Context())
	defer cancel()
	if md, ok := metadata.FromIncomingContext(ctx); ok {
		ctx = metadata.NewOutgoingContext(ctx, md.Copy())
	}
	out, err := r.Conn.NewStream(ctx, answers, method, grpc.ForceCodecV2(codec{}))
	if err != nil {
		return err
	}
	// At io.EOF the other end is done already; its own error is read below.
	if err := out.SendMsg(&request); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	err = copyFrames(out.RecvMsg, in.SendMsg)
	in.SetTrailer(out.Trailer())
	return err
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
		if err != nil {
			return err
		}
	}
}
