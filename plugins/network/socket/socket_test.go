package socket_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/gantryio/gantry/interfaces/network"
	"github.com/gantryio/gantry/interfaces/network/networktest"
	"github.com/gantryio/gantry/interfaces/plugin"
	"github.com/gantryio/gantry/interfaces/plugin/adopt"
	"github.com/gantryio/gantry/interfaces/plugin/conformance"
	"github.com/gantryio/gantry/interfaces/service"
	"github.com/gantryio/gantry/plugins/network/fake"
	"github.com/gantryio/gantry/plugins/network/socket"
	servicefake "github.com/gantryio/gantry/plugins/service/fake"
)

// place is a path for a socket; those are short.
func place(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "sock")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

// serve serves at a socket until the returned function is called.
func serve(t *testing.T, at string, server *grpc.Server) func() {
	t.Helper()
	lis, err := net.Listen("unix", at)
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(lis) }()
	t.Cleanup(server.Stop)
	return server.Stop
}

func networkServer(t *testing.T, n network.Network) *grpc.Server {
	t.Helper()
	s := grpc.NewServer()
	network.Register(s, n)
	return s
}

// open serves the plugin as its process would, and returns what the host would use.
func open(t *testing.T, endpoint string) (*adopt.Socket, *network.Client) {
	t.Helper()
	p, err := socket.Open(adopt.Config{Endpoint: endpoint})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	at := place(t)
	serve(t, at, grpc.NewServer(p.ServerOptions()...))
	conn, err := grpc.NewClient("unix:"+at, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return p, network.NewClient(conn)
}

func newNetwork(t *testing.T) *fake.Network {
	t.Helper()
	n, err := fake.Open(fake.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestConformance(t *testing.T) {
	at := place(t)
	serve(t, at, networkServer(t, newNetwork(t)))
	_, client := open(t, at)
	networktest.Suite{
		Network: client, Namespace: func(conformance.T) string { return "/run/netns/none" },
		PodCIDR: netip.MustParsePrefix("10.9.0.0/24"),
	}.Run(t)
}

// awaitProblem waits until the plugin reports a problem with all the words; none for no problem.
func awaitProblem(ctx context.Context, t *testing.T, p *adopt.Socket, words ...string) {
	t.Helper()
	done := errors.New("seen")
	var last string
	err := p.Report(ctx, func(c plugin.Condition) error {
		last = c.Problem
		if (c.Problem == "") != (len(words) == 0) {
			return nil
		}
		for _, w := range words {
			if !strings.Contains(c.Problem, w) {
				return nil
			}
		}
		return done
	})
	if !errors.Is(err, done) {
		t.Fatalf("the problem is %q, want %q", last, words)
	}
}

func TestSocketComesAndGoes(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	at, n := place(t), newNetwork(t)
	p, client := open(t, at)
	awaitProblem(ctx, t, p, "network socket "+at, "no such file")
	for range 2 {
		stop := serve(t, at, networkServer(t, n))
		// A call that began while the network was away is answered when it is back.
		if _, err := client.Attach(ctx, network.Sandbox{ID: "a"}); err != nil {
			t.Fatal(err)
		}
		awaitProblem(ctx, t, p)
		stop()
		awaitProblem(ctx, t, p, at, "no such file")
	}
	short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	if err := p.Ready(short); !errors.Is(plugin.FromStatus(err), plugin.ErrUnavailable) || !strings.Contains(err.Error(), at) {
		t.Errorf("a call of a network that is away fails with %v", err)
	}
}

func TestWhoAnswersIsChecked(t *testing.T) {
	proxy, err := servicefake.Open(servicefake.Config{})
	if err != nil {
		t.Fatal(err)
	}
	other := grpc.NewServer()
	service.Register(other, proxy)
	unwell := newNetwork(t)
	for range 100 {
		unwell.Fail(errors.New("the uplink is down"))
	}
	for name, test := range map[string]struct {
		server *grpc.Server
		words  []string
	}{
		"another contract":            {other, []string{"does not serve the network contract"}},
		"one that says why it cannot": {networkServer(t, unwell), []string{"the uplink is down"}},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			at := place(t)
			serve(t, at, test.server)
			p, _ := open(t, at)
			awaitProblem(ctx, t, p, test.words...)
		})
	}
}

func TestConfigIsChecked(t *testing.T) {
	for _, endpoint := range []string{"", "a/b"} {
		if _, err := socket.Open(adopt.Config{Endpoint: endpoint}); !errors.Is(err, plugin.ErrInvalid) {
			t.Errorf("endpoint %q: %v", endpoint, err)
		}
	}
}
