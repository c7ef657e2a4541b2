package pluginhost

import (
	"context"
	"net"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/gantryio/gantry/interfaces/plugin/proto"
	"github.com/gantryio/gantry/interfaces/plugin/relay"
)

// answer serves any method at a socket and tells of each call.
func answer(t *testing.T, socket string, calls chan<- string, name string) *grpc.Server {
	t.Helper()
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		if err := stream.RecvMsg(&emptypb.Empty{}); err != nil {
			return err
		}
		calls <- name
		return stream.SendMsg(&emptypb.Empty{})
	}))
	go func() { _ = s.Serve(l) }()
	t.Cleanup(s.Stop)
	return s
}

// through returns a connection to the plugin at a socket with its passage.
func through(t *testing.T, own string, way *proto.Passage) (*conn, *passage) {
	t.Helper()
	to, err := relay.Dial(own)
	if err != nil {
		t.Fatal(err)
	}
	p, err := openPassage(way)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = to.Close(); p.shut() })
	c := newConn("x")
	c.set(&line{ClientConn: to, passage: p}, nil)
	return c, p
}

// Calls that a plugin would pass on are made where they go as long as somebody listens there, all others at the plugin.
func TestPassage(t *testing.T) {
	dir, calls := t.TempDir(), make(chan string, 10)
	there, own := filepath.Join(dir, "there"), filepath.Join(dir, "plugin")
	s := answer(t, there, calls, "there")
	answer(t, own, calls, "plugin")
	c, p := through(t, own, &proto.Passage{Socket: there, Prefix: "/v1.", Except: []string{"/v1.X/Own"}})
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	// become waits until the passage is ready, or no longer is.
	become := func(ready bool) {
		t.Helper()
		for now := p.GetState(); (now == connectivity.Ready) != ready; now = p.GetState() {
			p.open("/v1.X/Do")
			if !p.WaitForStateChange(ctx, now) {
				t.Fatalf("the passage stays %s", now)
			}
		}
	}
	goes := func(method, want string) {
		t.Helper()
		if err := c.Invoke(ctx, method, &emptypb.Empty{}, &emptypb.Empty{}); err != nil {
			t.Fatalf("%s: %v", method, err)
		}
		if got := <-calls; got != want {
			t.Errorf("%s went to %s, want %s", method, got, want)
		}
	}
	become(true)
	goes("/v1.X/Do", "there")
	goes("/v1.X/Own", "plugin")
	goes("/v2.X/Do", "plugin")
	s.Stop()
	become(false)
	goes("/v1.X/Do", "plugin")
	answer(t, there, calls, "there")
	become(true)
	goes("/v1.X/Do", "there")
}

// A socket that nobody has ever listened at keeps no call.
func TestPassageToNobody(t *testing.T) {
	dir, calls := t.TempDir(), make(chan string, 1)
	own := filepath.Join(dir, "plugin")
	answer(t, own, calls, "plugin")
	c, _ := through(t, own, &proto.Passage{Socket: filepath.Join(dir, "none"), Prefix: "/"})
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := c.Invoke(ctx, "/v1.X/Do", &emptypb.Empty{}, &emptypb.Empty{}); err != nil {
		t.Error(err)
	}
}
