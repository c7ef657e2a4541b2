package ledger_test

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryio/gantry/core/pluginhost"
	"github.com/gantryio/gantry/core/pluginhost/ledger"
	"github.com/gantryio/gantry/interfaces/network"
	"github.com/gantryio/gantry/interfaces/plugin"
)

var same = []cmp.Option{
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
}

func entry(id, name string, second int) ledger.Entry {
	return ledger.Entry{
		Sandbox: network.Sandbox{ID: id, NetNS: "/run/netns/" + id, PodCIDRs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24")}},
		Plugin:  pluginhost.Ref{Kind: plugin.Network, Name: name, Version: "1"},
		Since:   time.Unix(int64(second), 0).UTC(),
	}
}

func TestSurvivesRestart(t *testing.T) {
	dir := t.TempDir()
	l, err := ledger.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range []ledger.Entry{entry("b", "cni", 1), entry("a", "cni", 2), entry("c", "cni", 3)} {
		if _, err := l.Intend(e); err != nil {
			t.Fatal(err)
		}
	}
	a := network.Attachment{Addresses: []network.Address{{Prefix: netip.MustParsePrefix("10.0.0.2/24")}}}
	if err := l.Finish("a", a); err != nil {
		t.Fatal(err)
	}
	if err := l.Forget("c"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "d.new"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	again, err := ledger.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	finished := entry("a", "cni", 2)
	finished.Attachment = &a
	if diff := cmp.Diff([]ledger.Entry{entry("b", "cni", 1), finished}, again.List(), same...); diff != "" {
		t.Errorf("entries after a restart differ (-want +got):\n%s", diff)
	}
}

func TestFirstPluginStaysResponsible(t *testing.T) {
	l, err := ledger.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Intend(entry("a", "old", 1)); err != nil {
		t.Fatal(err)
	}
	got, err := l.Intend(entry("a", "new", 2))
	if err != nil || got.Plugin.Name != "old" {
		t.Errorf("intend again gives %q, %v; want the plugin that attached", got.Plugin.Name, err)
	}
}

func TestErrors(t *testing.T) {
	dir := t.TempDir()
	l, err := ledger.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"", "../x", ".x", "x.new"} {
		if _, err := l.Intend(entry(id, "cni", 1)); !errors.Is(err, plugin.ErrInvalid) {
			t.Errorf("intend %q: %v, want %v", id, err, plugin.ErrInvalid)
		}
	}
	if err := l.Finish("none", network.Attachment{}); !errors.Is(err, plugin.ErrNotFound) {
		t.Errorf("finish an unknown entry: %v", err)
	}
	if err := l.Forget("none"); err != nil {
		t.Errorf("forget an unknown entry: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "torn"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ledger.Open(dir); err == nil {
		t.Error("a torn entry was read")
	}
}
