//go:build e2e

package nftables_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	nft "github.com/google/nftables"

	"github.com/gantryio/gantry/core/agent/guard"
	"github.com/gantryio/gantry/interfaces/network"
	"github.com/gantryio/gantry/interfaces/plugin/conformance"
	"github.com/gantryio/gantry/interfaces/plugin/plugintest"
	"github.com/gantryio/gantry/interfaces/service"
	"github.com/gantryio/gantry/interfaces/service/servicetest"
	"github.com/gantryio/gantry/plugins/network/cni"
	"github.com/gantryio/gantry/plugins/service/nftables"
)

func TestMain(m *testing.M) { os.Exit(plugintest.Isolate(m)) }

var (
	podCIDR   = netip.MustParsePrefix("10.244.7.0/24")
	clusterIP = netip.MustParseAddr("10.96.0.10")
)

// node is a node with guards and a pod network, without an uplink.
type node struct {
	network *cni.Network
	pods    atomic.Int32
}

func newNode(t *testing.T) *node {
	t.Helper()
	bins, err := filepath.Abs("../../../bin/stack/cni")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(bins, "bridge")); err != nil {
		t.Skip("the node stack is not built: make -C stack")
	}
	if err := guard.Install([]netip.Prefix{netip.MustParsePrefix("10.244.0.0/16")}, []netip.Prefix{netip.MustParsePrefix("10.96.0.0/16")}); err != nil {
		t.Fatal(err)
	}
	n, err := cni.Open(cni.Config{Dir: filepath.Join(t.TempDir(), "cni"), BinDirs: []string{bins}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(n.Stop(context.Background()), guard.Remove()); err != nil {
			t.Error(err)
		}
	})
	return &node{network: n}
}

type pod struct {
	name, netns string
	addr        netip.Addr
}

func (n *node) pod(t *testing.T) pod {
	t.Helper()
	p := pod{name: fmt.Sprintf("pod-%d", n.pods.Add(1)), netns: plugintest.Namespace(t)}
	a, err := n.network.Attach(t.Context(), network.Sandbox{ID: p.name, NetNS: p.netns, PodCIDRs: []netip.Prefix{podCIDR}})
	if err != nil {
		t.Fatal(err)
	}
	p.addr = a.Addresses[0].Prefix.Addr()
	return p
}

// serve answers each TCP connection and UDP packet with the pod's name and the caller's address.
func (p pod) serve(t *testing.T) service.Endpoint {
	t.Helper()
	const port = 8080
	var lis net.Listener
	var packets net.PacketConn
	if err := plugintest.In(p.netns, func() (err error) {
		if lis, err = net.Listen("tcp4", fmt.Sprintf(":%d", port)); err != nil {
			return err
		}
		packets, err = net.ListenPacket("udp4", fmt.Sprintf(":%d", port))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = lis.Close(), packets.Close() })
	go func() {
		for {
			conn, err := lis.Accept()
			if err != nil {
				return
			}
			host, _, _ := net.SplitHostPort(conn.RemoteAddr().String())
			_, _ = fmt.Fprintf(conn, "%s %s", p.name, host)
			_ = conn.Close()
		}
	}()
	go func() {
		var buf [64]byte
		for {
			_, from, err := packets.ReadFrom(buf[:])
			if err != nil {
				return
			}
			_, _ = packets.WriteTo([]byte(p.name), from)
		}
	}()
	return service.Endpoint{Address: p.addr, Port: port, Local: true}
}

// reach says who answers: name and the address it saw.
func reach(to netip.AddrPort) (name, seen string) {
	conn, err := net.DialTimeout("tcp4", to.String(), 2*time.Second)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return "refused", ""
	}
	if err != nil {
		return "none", err.Error()
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(2 * time.Second))
	raw, err := io.ReadAll(conn)
	if err != nil {
		return "none", err.Error()
	}
	name, seen, _ = strings.Cut(string(raw), " ")
	return name, seen
}

func (p pod) reach(t *testing.T, to netip.AddrPort) (name, seen string) {
	t.Helper()
	if err := plugintest.In(p.netns, func() error { name, seen = reach(to); return nil }); err != nil {
		t.Fatal(err)
	}
	return name, seen
}

func open(t *testing.T) *nftables.Proxy {
	t.Helper()
	p, err := nftables.Open(nftables.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return p
}

func web(protocol string, change func(*service.Service), endpoints ...service.Endpoint) service.Snapshot {
	s := service.Service{
		Namespace: "default", Name: "web", ClusterIPs: []netip.Addr{clusterIP},
		Ports: []service.Port{{Name: "p", Protocol: protocol, Port: 80, NodePort: 30080, Endpoints: endpoints}},
	}
	if change != nil {
		change(&s)
	}
	return service.Snapshot{Services: []service.Service{s}, PodCIDRs: []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16")}}
}

func sync(t *testing.T, p *nftables.Proxy, s service.Snapshot) {
	t.Helper()
	if err := p.Sync(t.Context(), s); err != nil {
		t.Fatal(err)
	}
}

func TestConformance(t *testing.T) {
	n := newNode(t)
	servicetest.Suite{
		Proxy: open(t),
		Reach: func(to netip.AddrPort) string { name, _ := reach(to); return name },
		Backend: func(ct conformance.T) (service.Endpoint, string) {
			t := ct.(*testing.T)
			p := n.pod(t)
			return p.serve(t), p.name
		},
	}.Run(t)
}

func TestWhoReachesWhat(t *testing.T) {
	n := newNode(t)
	server, client := n.pod(t), n.pod(t)
	endpoint := server.serve(t)
	gateway := "10.244.7.1"
	vip, onLoopback, onNode := netip.AddrPortFrom(clusterIP, 80), netip.MustParseAddrPort("127.0.0.1:30080"), netip.MustParseAddrPort(gateway+":30080")
	p := open(t)
	sync(t, p, web("TCP", nil, endpoint))
	fromNode := func(to netip.AddrPort) (string, string) { return reach(to) }
	fromClient := func(to netip.AddrPort) (string, string) { return client.reach(t, to) }
	fromServer := func(to netip.AddrPort) (string, string) { return server.reach(t, to) }
	for _, test := range []struct {
		name string
		from func(netip.AddrPort) (string, string)
		to   netip.AddrPort
		seen string // the source address the endpoint sees; "" for any
	}{
		{name: "node to cluster address", from: fromNode, to: vip},
		{name: "node to node port on loopback", from: fromNode, to: onLoopback, seen: gateway},
		{name: "node to node port", from: fromNode, to: onNode},
		{name: "pod to cluster address keeps its address", from: fromClient, to: vip, seen: client.addr.String()},
		{name: "pod to node port", from: fromClient, to: onNode},
		{name: "pod to itself by cluster address", from: fromServer, to: vip, seen: gateway},
	} {
		name, seen := test.from(test.to)
		if name != server.name || test.seen != "" && seen != test.seen {
			t.Errorf("%s: %q answered and saw %q, want %q and %q", test.name, name, seen, server.name, test.seen)
		}
	}
	for name, to := range map[string]string{"another port": "10.96.0.10:81", "another address": "10.96.0.11:80"} {
		if got, _ := fromNode(netip.MustParseAddrPort(to)); got != "refused" {
			t.Errorf("node to %s: %q, want refused", name, got)
		}
		if got, _ := fromClient(netip.MustParseAddrPort(to)); got != "refused" {
			t.Errorf("pod to %s: %q, want refused", name, got)
		}
	}
	sync(t, p, web("TCP", nil))
	for _, to := range []netip.AddrPort{vip, onLoopback, onNode} {
		if got, _ := fromNode(to); got != "refused" {
			t.Errorf("node to %s without endpoints: %q, want refused", to, got)
		}
	}
	if got, _ := fromClient(vip); got != "refused" {
		t.Errorf("pod without endpoints: %q, want refused", got)
	}
}

// A connection that there is already is none to a service that takes its port, however few endpoints that has.
func TestConnectionsGoOn(t *testing.T) {
	newNode(t)
	p := open(t)
	sync(t, p, web("TCP", func(s *service.Service) { s.Ports[0].NodePort = 0 }))
	const port = "127.0.0.1:30080"
	lis, err := net.Listen("tcp4", port)
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close()
	conn, err := net.Dial("tcp4", port)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	peer, err := lis.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	say := func(what string) {
		t.Helper()
		heard := make([]byte, len(what))
		if err := errors.Join(conn.SetDeadline(time.Now().Add(10*time.Second)), peer.SetDeadline(time.Now().Add(10*time.Second))); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, what); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(peer, heard); err != nil || string(heard) != what {
			t.Fatalf("heard %q, want %q: %v", heard, what, err)
		}
	}
	say("before")
	sync(t, p, web("TCP", nil))
	say("after")
	if got, _ := reach(netip.MustParseAddrPort(port)); got != "refused" {
		t.Errorf("a new connection: %q, want refused", got)
	}
}

// Two instances with tables of their own hand over to each other while clients connect.
func TestHandOver(t *testing.T) {
	n := newNode(t)
	server, client := n.pod(t), n.pod(t)
	snapshot := web("TCP", nil, server.serve(t))
	vip := netip.AddrPortFrom(clusterIP, 80)
	old := open(t)
	next, err := nftables.Open(nftables.Config{Table: "gantry-other"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = next.Stop(context.Background()) })
	sync(t, old, snapshot)
	var failures, calls atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- plugintest.In(client.netns, func() error {
			for ctx.Err() == nil {
				if name, why := reach(vip); name != server.name {
					failures.Add(1)
					t.Logf("%q answered: %s", name, why)
				}
				calls.Add(1)
			}
			return nil
		})
	}()
	for range 20 {
		before := calls.Load()
		sync(t, next, snapshot)
		if err := old.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		for tick := time.Tick(time.Millisecond); calls.Load() < before+3 && failures.Load() == 0; {
			<-tick
		}
		old, next = next, old
	}
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if n := failures.Load(); n > 0 {
		t.Errorf("%d of %d connections failed", n, calls.Load())
	}
	tables, err := (&nft.Conn{}).ListTables()
	if err != nil {
		t.Fatal(err)
	}
	ours := 0
	for _, table := range tables {
		if strings.HasPrefix(table.Name, "gantry") && table.Family == nft.TableFamilyIPv4 {
			ours++
		}
	}
	if ours != 1 {
		t.Errorf("%d tables are left of two proxies, want one", ours)
	}
}

func TestAffinity(t *testing.T) {
	n := newNode(t)
	a, b, client := n.pod(t), n.pod(t), n.pod(t)
	p := open(t)
	sync(t, p, web("TCP", func(s *service.Service) { s.AffinitySeconds = 60 }, a.serve(t), b.serve(t)))
	first, _ := client.reach(t, netip.AddrPortFrom(clusterIP, 80))
	for range 30 {
		if got, _ := client.reach(t, netip.AddrPortFrom(clusterIP, 80)); got != first || got == "none" {
			t.Fatalf("%q answered after %q", got, first)
		}
	}
}

// A proxy that takes over sends clients to where the one before did, and so does the one after it.
func TestAffinityPassesOn(t *testing.T) {
	n := newNode(t)
	snapshot := web("TCP", func(s *service.Service) { s.AffinitySeconds = 60 }, n.pod(t).serve(t), n.pod(t).serve(t), n.pod(t).serve(t))
	vip := netip.AddrPortFrom(clusterIP, 80)
	old := open(t)
	next, err := nftables.Open(nftables.Config{Table: "gantry-other"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = next.Stop(context.Background()) })
	if known, err := next.Affinities(t.Context()); err != nil || len(known) > 0 {
		t.Errorf("a proxy that was told nothing knows %v, %v", known, err)
	}
	sync(t, old, snapshot)
	type visit struct {
		from pod
		at   string
	}
	var clients []visit
	for range 6 {
		client := n.pod(t)
		at, _ := client.reach(t, vip)
		clients = append(clients, visit{client, at})
	}
	for turn := range 2 {
		snapshot.Affinities, err = old.Affinities(t.Context())
		if err != nil || len(snapshot.Affinities) != len(clients) {
			t.Fatalf("turn %d: %d affinities, want %d: %v", turn, len(snapshot.Affinities), len(clients), err)
		}
		for _, a := range snapshot.Affinities {
			if a.Name != snapshot.Services[0].Name || a.Left <= 0 || a.Left > time.Minute {
				t.Errorf("turn %d: %+v", turn, a)
			}
		}
		sync(t, next, snapshot)
		if err := old.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, client := range clients {
			for range 3 {
				if got, why := client.from.reach(t, vip); got != client.at {
					t.Errorf("turn %d: %q answered after %q: %s", turn, got, client.at, why)
				}
			}
		}
		old, next = next, old
	}
}

func TestExternalLocal(t *testing.T) {
	n := newNode(t)
	a, b := n.pod(t), n.pod(t)
	here, elsewhere := a.serve(t), b.serve(t)
	elsewhere.Local = false
	p := open(t)
	sync(t, p, web("TCP", func(s *service.Service) { s.ExternalLocal = true }, here, elsewhere))
	seen := map[string]bool{}
	for range 60 {
		name, _ := reach(netip.MustParseAddrPort("127.0.0.1:30080"))
		seen[name] = true
	}
	if !seen[a.name] || !seen[b.name] || len(seen) != 2 {
		t.Errorf("the node itself reaches %v, want both endpoints", seen)
	}
}

func TestHostPort(t *testing.T) {
	n := newNode(t)
	server, client := n.pod(t), n.pod(t)
	p := open(t)
	sync(t, p, service.Snapshot{
		PodCIDRs: []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16")},
		Services: []service.Service{{
			Namespace: "default", Name: "host-port", ExternalLocal: true,
			Ports: []service.Port{{Protocol: "TCP", Port: 5000, NodePort: 5000, Endpoints: []service.Endpoint{server.serve(t)}}},
		}},
	})
	for _, to := range []string{"127.0.0.1:5000", "10.244.7.1:5000"} {
		if got, why := reach(netip.MustParseAddrPort(to)); got != server.name {
			t.Errorf("node to %s: %q (%s), want %q", to, got, why, server.name)
		}
	}
	if got, why := client.reach(t, netip.MustParseAddrPort("10.244.7.1:5000")); got != server.name {
		t.Errorf("pod to host port: %q (%s), want %q", got, why, server.name)
	}
}

func TestUDPFollowsItsEndpoint(t *testing.T) {
	n := newNode(t)
	a, b, client := n.pod(t), n.pod(t), n.pod(t)
	p := open(t)
	one, two := a.serve(t), b.serve(t)
	var conn net.Conn
	if err := plugintest.In(client.netns, func() (err error) {
		conn, err = net.Dial("udp4", netip.AddrPortFrom(clusterIP, 80).String())
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ask := func() string {
		var buf [64]byte
		for range 5 {
			_ = conn.SetDeadline(time.Now().Add(time.Second))
			if _, err := conn.Write([]byte("?")); err != nil {
				continue
			}
			if size, err := conn.Read(buf[:]); err == nil {
				return string(buf[:size])
			}
		}
		return "none"
	}
	for _, step := range []struct {
		endpoint service.Endpoint
		want     string
	}{{one, a.name}, {two, b.name}, {one, a.name}} {
		sync(t, p, web("UDP", nil, step.endpoint))
		if got := ask(); got != step.want {
			t.Errorf("%q answered the same socket, want %q", got, step.want)
		}
	}
}

func TestRepairs(t *testing.T) {
	n := newNode(t)
	server := n.pod(t)
	endpoint := server.serve(t)
	p := open(t)
	vip := netip.AddrPortFrom(clusterIP, 80)
	conn, err := nft.New()
	if err != nil {
		t.Fatal(err)
	}
	table := &nft.Table{Name: "gantry", Family: nft.TableFamilyIPv4}
	for name, harm := range map[string]func(){
		"nothing":               func() {},
		"the table is gone":     func() { conn.DelTable(table) },
		"a base chain is empty": func() { conn.FlushChain(&nft.Chain{Table: table, Name: "output"}) },
		"all rules are gone":    func() { conn.FlushTable(table) },
		"the map is empty": func() {
			set, err := conn.GetSetByName(table, "vips")
			if err != nil {
				t.Fatal(err)
			}
			conn.FlushSet(set)
		},
		"a stranger's chain": func() { conn.AddChain(&nft.Chain{Table: table, Name: "stranger"}) },
	} {
		t.Run(name, func(t *testing.T) {
			sync(t, p, web("TCP", nil, endpoint))
			harm()
			if err := conn.Flush(); err != nil {
				t.Fatal(err)
			}
			sync(t, p, web("TCP", nil, endpoint))
			if got, why := reach(vip); got != server.name {
				t.Errorf("%q answered (%s), want %q", got, why, server.name)
			}
			chains, err := conn.ListChainsOfTableFamily(nft.TableFamilyIPv4)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range chains {
				if c.Name == "stranger" {
					t.Error("the stranger's chain is still there")
				}
			}
		})
	}
	sync(t, p, service.Snapshot{})
	chains, err := conn.ListChainsOfTableFamily(nft.TableFamilyIPv4)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range chains {
		if strings.HasPrefix(c.Name, "svc-") || strings.HasPrefix(c.Name, "ep-") {
			t.Errorf("chain %s is left without services", c.Name)
		}
	}
}

func TestStopLeavesNothing(t *testing.T) {
	p := open(t)
	sync(t, p, web("TCP", nil))
	if err := p.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	conn, err := nft.New()
	if err != nil {
		t.Fatal(err)
	}
	if tables, err := conn.ListTables(); err != nil || len(tables) != 0 {
		t.Errorf("left: %v, %v", tables, err)
	}
}
