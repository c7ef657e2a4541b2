//go:build e2e

package guard_test

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"

	"github.com/gantryio/gantry/core/agent/guard"
	"github.com/gantryio/gantry/interfaces/plugin/plugintest"
)

func TestMain(m *testing.M) { os.Exit(plugintest.Isolate(m)) }

var (
	pods     = []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16")}
	services = []netip.Prefix{netip.MustParsePrefix("10.96.0.0/16")}
)

// uplink makes an interface with a default route and returns what leaves by it.
func uplink(t *testing.T) func() uint64 {
	t.Helper()
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "up0"}, PeerName: "up1"}
	if err := netlink.LinkAdd(veth); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = netlink.LinkDel(veth) })
	address, err := netlink.ParseAddr("192.0.2.2/24")
	if err != nil {
		t.Fatal(err)
	}
	peer, err := netlink.LinkByName("up1")
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		netlink.AddrAdd(veth, address), netlink.LinkSetUp(veth), netlink.LinkSetUp(peer),
		netlink.NeighSet(&netlink.Neigh{LinkIndex: veth.Index, IP: net.IPv4(192, 0, 2, 1), HardwareAddr: peer.Attrs().HardwareAddr, State: netlink.NUD_PERMANENT}),
		netlink.RouteAdd(&netlink.Route{LinkIndex: veth.Index, Gw: net.IPv4(192, 0, 2, 1)}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return func() uint64 {
		link, err := netlink.LinkByName("up0")
		if err != nil {
			t.Fatal(err)
		}
		return link.Attrs().Statistics.TxPackets
	}
}

func dial(address string) error {
	conn, err := net.DialTimeout("tcp", address, 300*time.Millisecond)
	if err == nil {
		_ = conn.Close()
	}
	return err
}

func TestNothingLeaves(t *testing.T) {
	sent := uplink(t)
	before := sent()
	if err := dial("10.244.3.4:80"); err == nil || sent() == before {
		t.Fatalf("without guards nothing leaves (%v): this test would prove nothing", err)
	}
	for range 2 {
		if err := guard.Install(pods, services); err != nil {
			t.Fatal(err)
		}
	}
	before = sent()
	for address, want := range map[string]error{"10.244.3.4:80": syscall.EHOSTUNREACH, "10.96.3.4:80": syscall.ECONNREFUSED} {
		if err := dial(address); !errors.Is(err, want) {
			t.Errorf("dial %s: %v, want %v", address, err, want)
		}
	}
	if after := sent(); after != before {
		t.Errorf("%d packets left", after-before)
	}
	if err := guard.Remove(); err != nil {
		t.Fatal(err)
	}
}

func TestOnlyLoopbackAndItDown(t *testing.T) {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetDown(lo); err != nil {
		t.Fatal(err)
	}
	if err := guard.Install(pods, services); err != nil {
		t.Fatal(err)
	}
	if err := guard.Install(nil, services); err != nil {
		t.Fatal(err)
	}
	if got := ours(t); got != 1 {
		t.Errorf("%d routes after the pod range was dropped, want 1", got)
	}
	for range 2 {
		if err := guard.Remove(); err != nil {
			t.Fatal(err)
		}
	}
	conn, err := nftables.New()
	if err != nil {
		t.Fatal(err)
	}
	if tables, err := conn.ListTables(); err != nil || len(tables) != 0 || ours(t) != 0 {
		t.Errorf("left: tables %v (%v), %d routes", tables, err, ours(t))
	}
}

func ours(t *testing.T) int {
	t.Helper()
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Protocol: 103}, netlink.RT_FILTER_PROTOCOL)
	if err != nil {
		t.Fatal(err)
	}
	return len(routes)
}
