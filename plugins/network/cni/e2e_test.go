//go:build e2e

package cni_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/gantryio/gantry/interfaces/network"
	"github.com/gantryio/gantry/interfaces/network/networktest"
	"github.com/gantryio/gantry/interfaces/plugin/plugintest"
	"github.com/gantryio/gantry/plugins/network/cni"
)

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "spy" {
		os.Exit(spy())
	}
	os.Exit(plugintest.Isolate(m))
}

func bins(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../../../bin/stack/cni")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "bridge")); err != nil {
		t.Skip("the node stack is not built: make -C stack")
	}
	return dir
}

func open(t *testing.T) (*cni.Network, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "cni")
	n, err := cni.Open(cni.Config{Dir: dir, BinDirs: []string{bins(t)}})
	if err != nil {
		t.Fatal(err)
	}
	return n, dir
}

func TestConformance(t *testing.T) {
	n, _ := open(t)
	networktest.Suite{Network: n, Namespace: plugintest.Namespace, PodCIDR: netip.MustParsePrefix("10.244.7.0/24")}.Run(t)
}

func TestStopLeavesNothing(t *testing.T) {
	n, dir := open(t)
	s := network.Sandbox{ID: "left", NetNS: plugintest.Namespace(t), PodCIDRs: []netip.Prefix{netip.MustParsePrefix("10.244.7.0/24")}}
	if _, err := n.Attach(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if err := n.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	links, err := netlink.LinkList()
	if err != nil || len(links) != 1 {
		t.Errorf("links after Stop: %v, %v; want loopback alone", links, err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the plugin's folder is left: %v", err)
	}
}

func TestDetachAfterFailedAttach(t *testing.T) {
	n, _ := open(t)
	s := network.Sandbox{ID: "bad", NetNS: "/nowhere", PodCIDRs: []netip.Prefix{netip.MustParsePrefix("10.244.7.0/24")}}
	if _, err := n.Attach(t.Context(), s); err == nil {
		t.Fatal("attached to no namespace")
	}
	if err := n.Detach(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if ids, err := n.List(t.Context()); err != nil || len(ids) != 0 {
		t.Errorf("left: %v, %v", ids, err)
	}
}
