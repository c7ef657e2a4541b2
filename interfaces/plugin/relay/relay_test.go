package relay_test

import (
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/gantryio/gantry/interfaces/plugin"
	"github.com/gantryio/gantry/interfaces/plugin/proto"
	"github.com/gantryio/gantry/interfaces/plugin/relay"
)

// far is what the calls are carried to.
type far struct {
	proto.UnimplementedLifecycleServer
	ended chan struct{}
}

func (far) Describe(ctx context.Context, _ *proto.DescribeRequest) (*proto.DescribeResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	return &proto.DescribeResponse{Name: strings.Join(md.Get("who"), ""), Version: strings.Repeat("x", 2*plugin.Window)}, nil
}

func (far) Stop(ctx context.Context, _ *proto.StopRequest) (*proto.StopResponse, error) {
	_ = grpc.SetTrailer(ctx, metadata.Pairs("left", "three"))
	return nil, status.Error(codes.NotFound, "no such thing")
}

func (f far) Watch(_ *proto.WatchRequest, to grpc.ServerStreamingServer[proto.WatchResponse]) error {
	for _, text := range []string{"a", "b"} {
		if err := to.Send(&proto.WatchResponse{Problem: text}); err != nil {
			return err
		}
	}
	<-to.Context().Done()
	close(f.ended)
	return nil
}

func serve(t *testing.T, s *grpc.Server) (socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(s.Stop)
	return socket
}

func dial(t *testing.T, socket string) *grpc.ClientConn {
	t.Helper()
	conn, err := relay.Dial(socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func TestRelay(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	f := far{ended: make(chan struct{})}
	end := grpc.NewServer()
	proto.RegisterLifecycleServer(end, f)
	r := &relay.Relay{Conn: dial(t, serve(t, end)), Allow: func(method string) bool { return strings.Contains(method, "Lifecycle") }}
	near := proto.NewLifecycleClient(dial(t, serve(t, grpc.NewServer(r.ServerOptions()...))))

	got, err := near.Describe(metadata.AppendToOutgoingContext(ctx, "who", "me"), &proto.DescribeRequest{})
	if err != nil || got.GetName() != "me" || len(got.GetVersion()) != 2*plugin.Window {
		t.Errorf("an answer of two windows: %v, %d bytes for %q", err, len(got.GetVersion()), got.GetName())
	}

	var trailer metadata.MD
	if _, err := near.Stop(ctx, &proto.StopRequest{}, grpc.Trailer(&trailer)); status.Code(err) != codes.NotFound || status.Convert(err).Message() != "no such thing" {
		t.Errorf("the error is %v", err)
	}
	if got := strings.Join(trailer.Get("left"), ""); got != "three" {
		t.Errorf("the trailer is %v", trailer)
	}

	watching, stop := context.WithCancel(ctx)
	stream, err := near.Watch(watching, &proto.WatchRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"a", "b"} {
		if m, err := stream.Recv(); err != nil || m.GetProblem() != want {
			t.Fatalf("got %v, %v; want %s", m, err, want)
		}
	}
	stop()
	select {
	case <-f.ended:
	case <-ctx.Done():
		t.Error("the far end does not learn that nobody listens")
	}
	if _, err := stream.Recv(); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("the stream ends with %v", err)
	}
}

func TestWhatIsNotCarried(t *testing.T) {
	r := &relay.Relay{Conn: dial(t, "/nobody"), Allow: func(string) bool { return false }}
	near := proto.NewLifecycleClient(dial(t, serve(t, grpc.NewServer(r.ServerOptions()...))))
	if _, err := near.Describe(t.Context(), &proto.DescribeRequest{}); status.Code(err) != codes.Unimplemented {
		t.Errorf("got %v", err)
	}
}
