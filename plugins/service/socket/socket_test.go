package socket_test

import (
	"context"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/gantryio/gantry/interfaces/plugin/adopt"
	"github.com/gantryio/gantry/interfaces/plugin/proto"
	"github.com/gantryio/gantry/interfaces/service"
	"github.com/gantryio/gantry/interfaces/service/servicetest"
	"github.com/gantryio/gantry/plugins/service/fake"
	"github.com/gantryio/gantry/plugins/service/socket"
)

// serve serves at a socket and returns its path.
func serve(t *testing.T, server *grpc.Server) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "sock") // paths of sockets are short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	at := filepath.Join(dir, "s")
	lis, err := net.Listen("unix", at)
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(lis) }()
	t.Cleanup(server.Stop)
	return at
}

// open adopts what a server serves, and returns what the host would use.
func open(t *testing.T, server *grpc.Server) (*socket.Proxy, *service.Client) {
	t.Helper()
	p, err := socket.Open(adopt.Config{Endpoint: serve(t, server)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	conn, err := grpc.NewClient("unix:"+serve(t, grpc.NewServer(p.ServerOptions()...)), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return p, service.NewClient(conn)
}

func newProxy(t *testing.T) (*fake.Proxy, *grpc.Server) {
	t.Helper()
	f, err := fake.Open(fake.Config{})
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	service.Register(s, f)
	return f, s
}

func TestConformance(t *testing.T) {
	_, server := newProxy(t)
	_, client := open(t, server)
	servicetest.Suite{Proxy: client}.Run(t)
}

// stopper counts how often it was told to stop.
type stopper struct {
	proto.UnimplementedLifecycleServer
	stops int
}

func (s *stopper) Describe(context.Context, *proto.DescribeRequest) (*proto.DescribeResponse, error) {
	return &proto.DescribeResponse{Kind: "service"}, nil
}

func (s *stopper) Stop(context.Context, *proto.StopRequest) (*proto.StopResponse, error) {
	s.stops++
	return &proto.StopResponse{}, nil
}

func TestStop(t *testing.T) {
	some := service.Snapshot{NodeAddresses: []netip.Addr{netip.MustParseAddr("192.0.2.1")}}
	t.Run("a proxy without a life cycle routes nothing", func(t *testing.T) {
		f, server := newProxy(t)
		p, client := open(t, server)
		if err := client.Sync(t.Context(), some); err != nil {
			t.Fatal(err)
		}
		if err := p.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		if now, syncs, _ := f.Dump(); syncs != 2 || len(now.NodeAddresses) != 0 {
			t.Errorf("after %d syncs it routes %v", syncs, now)
		}
	})
	t.Run("one that can stop is told to", func(t *testing.T) {
		f, server := newProxy(t)
		life := &stopper{}
		proto.RegisterLifecycleServer(server, life)
		p, client := open(t, server)
		if err := client.Sync(t.Context(), some); err != nil {
			t.Fatal(err)
		}
		if err := p.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, syncs, _ := f.Dump(); syncs != 1 || life.stops != 1 {
			t.Errorf("after %d syncs it was told to stop %d times", syncs, life.stops)
		}
	})
}
