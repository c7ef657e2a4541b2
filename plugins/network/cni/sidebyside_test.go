//go:build e2e

package cni_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/gantryio/gantry/interfaces/network"
	"github.com/gantryio/gantry/interfaces/plugin"
	"github.com/gantryio/gantry/interfaces/plugin/plugintest"
	"github.com/gantryio/gantry/plugins/network/cni"
)

const ptp = `{"cniVersion":"1.0.0","name":"fast","plugins":[{"type":"ptp","mtu":1400,"ipam":{"type":"host-local"}}]}`

var podRange = []netip.Prefix{netip.MustParsePrefix("10.244.7.0/24")}

// with opens a network with its folder below dir; it is stopped when the test ends.
func with(t *testing.T, dir string, c cni.Config) *cni.Network {
	t.Helper()
	c.Dir, c.Addresses = filepath.Join(dir, "cni-"+c.Bridge), filepath.Join(dir, "addresses")
	if c.BinDirs == nil {
		c.BinDirs = []string{bins(t)}
	}
	n, err := cni.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return n
}

func attached(t *testing.T, n network.Network, s network.Sandbox) network.Attachment {
	t.Helper()
	s.NetNS, s.PodCIDRs = plugintest.Namespace(t), podRange
	if s.PodName != "" { // a further interface of that pod
		s.NetNS = s.PodName
	}
	a, err := n.Attach(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Detach(context.WithoutCancel(t.Context()), s); err != nil {
			t.Error(err)
		}
	})
	return a
}

// reaches lets what runs in one namespace read from a server in another.
func reaches(t *testing.T, from, to string, server netip.Addr) error {
	t.Helper()
	var lis net.Listener
	err := plugintest.In(to, func() (err error) {
		lis, err = net.Listen("tcp", netip.AddrPortFrom(server, 0).String())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close()
	go func() {
		for {
			conn, err := lis.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("hello"))
			_ = conn.Close()
		}
	}()
	return plugintest.In(from, func() error {
		conn, err := net.DialTimeout("tcp", lis.Addr().String(), 5*time.Second)
		if err != nil {
			return err
		}
		defer conn.Close()
		got, err := io.ReadAll(conn)
		if err == nil && string(got) != "hello" {
			err = errors.New("answered " + string(got))
		}
		return err
	})
}

func TestSideBySide(t *testing.T) {
	dir := t.TempDir()
	networks := []*cni.Network{
		with(t, dir, cni.Config{Bridge: "one0"}), with(t, dir, cni.Config{Bridge: "two0"}), with(t, dir, cni.Config{Bridge: "ptp", List: json.RawMessage(ptp)}),
	}
	var where []string
	var addresses []netip.Addr
	seen := map[netip.Addr]bool{}
	for i := range 6 {
		a := attached(t, networks[i%3], network.Sandbox{ID: "pod" + string(rune('a'+i))})
		where = append(where, a.Interfaces[len(a.Interfaces)-1].NetNS)
		ip := a.Addresses[0].Prefix.Addr()
		if seen[ip] {
			t.Fatalf("%s was given twice", ip)
		}
		addresses, seen[ip] = append(addresses, ip), true
	}
	routing(t)
	for i := range where {
		for j := range where {
			if i == j {
				continue
			}
			if err := reaches(t, where[i], where[j], addresses[j]); err != nil {
				t.Errorf("pod %d of network %d to pod %d of network %d: %v", i, i%3, j, j%3, err)
			}
		}
	}
}

// routing lets the namespace of the test forward.
func routing(t *testing.T) {
	t.Helper()
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestFurtherInterface(t *testing.T) {
	dir := t.TempDir()
	pods := with(t, dir, cni.Config{Bridge: "one0"})
	own := with(t, dir, cni.Config{Bridge: "net0", Subnet: netip.MustParsePrefix("10.9.0.0/24")})
	a := attached(t, pods, network.Sandbox{ID: "pod"})
	ns := a.Interfaces[len(a.Interfaces)-1].NetNS
	extra := attached(t, own, network.Sandbox{ID: "pod.net1", Interface: "net1", PodName: ns})
	if got := extra.Addresses[0].Prefix; !netip.MustParsePrefix("10.9.0.0/24").Contains(got.Addr()) {
		t.Errorf("net1 has %s", got)
	}
	err := plugintest.In(ns, func() error {
		if _, err := netlink.LinkByName("net1"); err != nil {
			return err
		}
		routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
		for _, r := range routes {
			if ones, _ := r.Dst.Mask.Size(); ones == 0 && !r.Gw.Equal(net.IP(a.Addresses[0].Gateway.AsSlice())) {
				t.Errorf("default route %v", r)
			}
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	_, err = pods.Attach(t.Context(), network.Sandbox{ID: "other.net1", Interface: "net1", NetNS: ns, PodCIDRs: podRange})
	if !errors.Is(err, plugin.ErrInvalid) {
		t.Errorf("a further interface in the pods' range: %v, want %v", err, plugin.ErrInvalid)
	}
}

func TestAsksForAddresses(t *testing.T) {
	n := with(t, t.TempDir(), cni.Config{Bridge: "one0"})
	a := attached(t, n, network.Sandbox{ID: "pod", IPs: []netip.Addr{netip.MustParseAddr("10.244.7.77")}, MAC: "02:00:00:00:00:77"})
	if got := a.Addresses[0].Prefix.String(); got != "10.244.7.77/24" {
		t.Errorf("got address %s", got)
	}
	if got := a.Interfaces[len(a.Interfaces)-1].MAC; got != "02:00:00:00:00:77" {
		t.Errorf("got MAC %s", got)
	}
}

// reserved are the addresses that host-local holds.
func reserved(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*", "[0-9]*"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// partial copies the CNI executables of some types.
func partial(t *testing.T, types ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range types {
		if err := os.Symlink(filepath.Join(bins(t), name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const chain = `{"cniVersion":"1.1.0","name":"chain","plugins":[
	{"type":"ptp","ipam":{"type":"host-local"}},
	{"type":"portmap","capabilities":{"portMappings":true}},
	{"type":"bandwidth","capabilities":{"bandwidth":true}}]}`

func TestMissingExecutableLeaksNoAddress(t *testing.T) {
	dir := t.TempDir()
	bin := partial(t, "ptp", "host-local", "bandwidth")
	n := with(t, dir, cni.Config{BinDirs: []string{bin}, List: json.RawMessage(chain)})
	if err := n.Status(t.Context()); !errors.Is(err, plugin.ErrNotFound) {
		t.Errorf("status without portmap: %v, want %v", err, plugin.ErrNotFound)
	}
	s := network.Sandbox{ID: "pod", NetNS: plugintest.Namespace(t), PodCIDRs: podRange}
	if _, err := n.Attach(t.Context(), s); err == nil || !strings.Contains(err.Error(), "portmap") {
		t.Fatalf("attach without portmap: %v", err)
	}
	if got := reserved(t, filepath.Join(dir, "addresses")); len(got) != 0 {
		t.Errorf("addresses after a failed attach: %v", got)
	}
	if ids, err := n.List(t.Context()); err != nil || len(ids) != 0 {
		t.Errorf("left after a failed attach: %v, %v", ids, err)
	}
	if err := os.Symlink(filepath.Join(bins(t), "portmap"), filepath.Join(bin, "portmap")); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Attach(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(bin, "bandwidth")); err != nil {
		t.Fatal(err)
	}
	if err := n.Detach(t.Context(), s); !errors.Is(err, plugin.ErrNotFound) || !strings.Contains(err.Error(), "bandwidth") {
		t.Errorf("detach without bandwidth: %v", err)
	}
	if got := reserved(t, filepath.Join(dir, "addresses")); len(got) != 0 {
		t.Errorf("addresses after a detach without bandwidth: %v", got)
	}
	if err := os.Symlink(filepath.Join(bins(t), "bandwidth"), filepath.Join(bin, "bandwidth")); err != nil {
		t.Fatal(err)
	}
	if err := n.Detach(t.Context(), s); err != nil {
		t.Error(err)
	}
	if ids, err := n.List(t.Context()); err != nil || len(ids) != 0 {
		t.Errorf("left after detach: %v, %v", ids, err)
	}
}

// TestDeathDuringAttach shows what the next process makes of the records that one left when it died.
func TestDeathDuringAttach(t *testing.T) {
	for _, test := range []struct {
		name  string
		leave func(t *testing.T, dir string, a network.Attachment)
	}{
		{name: "before the result was written", leave: func(t *testing.T, dir string, _ network.Attachment) {
			file := filepath.Join(dir, "cni-one0", "sandboxes", "pod")
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var record map[string]json.RawMessage
			if err := json.Unmarshal(raw, &record); err != nil || record["result"] == nil {
				t.Fatalf("record %s: %v", raw, err)
			}
			delete(record, "result")
			if raw, err = json.Marshal(record); err == nil {
				err = os.WriteFile(file, raw, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}},
		{name: "before the route was made", leave: func(t *testing.T, _ string, a network.Attachment) {
			for _, r := range routesTo(t, a) {
				if err := netlink.RouteDel(&r); err != nil {
					t.Fatal(err)
				}
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			s := network.Sandbox{ID: "pod", NetNS: plugintest.Namespace(t), PodCIDRs: podRange}
			a, err := with(t, dir, cni.Config{Bridge: "one0"}).Attach(t.Context(), s)
			if err != nil {
				t.Fatal(err)
			}
			test.leave(t, dir, a)
			next := with(t, dir, cni.Config{Bridge: "one0"})
			if a, err = next.Attach(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			if got := reserved(t, filepath.Join(dir, "addresses")); len(got) != 1 || len(routesTo(t, a)) != 1 {
				t.Errorf("after the second attach: addresses %v, routes %v", got, routesTo(t, a))
			}
			if err := next.Detach(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			if got := reserved(t, filepath.Join(dir, "addresses")); len(got) != 0 || len(routesTo(t, a)) != 0 {
				t.Errorf("after detach: addresses %v, routes %v", got, routesTo(t, a))
			}
		})
	}
}

// routesTo are the routes that lead to a pod alone.
func routesTo(t *testing.T, a network.Attachment) []netlink.Route {
	t.Helper()
	ip := net.IP(a.Addresses[0].Prefix.Addr().AsSlice())
	all, err := netlink.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Dst: &net.IPNet{IP: ip, Mask: net.CIDRMask(32, 32)}}, netlink.RT_FILTER_DST)
	if err != nil {
		t.Fatal(err)
	}
	return all
}
