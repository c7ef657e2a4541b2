package audit

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryio/gantry/core/pluginhost"
	"github.com/gantryio/gantry/core/pluginhost/ledger"
	"github.com/gantryio/gantry/interfaces/network"
	"github.com/gantryio/gantry/interfaces/plugin"
)

var (
	noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	id   = strings.Repeat("a", 64)
	here = Place{
		RunDir: "/run/g", KubeletDir: "/k", PodRanges: []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16")},
		OurBridge: func(name string) bool { return strings.HasPrefix(name, "gantry") }, OurTable: func(name string) bool { return name == "gantry" },
	}
)

func entry(id string, since time.Time) ledger.Entry {
	return ledger.Entry{
		Sandbox: network.Sandbox{ID: id, NetNS: "/run/g/netns/" + id, PodNamespace: "ns", PodName: "pod"}, Since: since,
		Plugin: pluginhost.Ref{Kind: plugin.Network, Name: "cni"},
		Attachment: &network.Attachment{
			Interfaces: []network.Interface{{Name: "gantry0"}, {Name: "veth-" + id}, {Name: "eth0", NetNS: "/run/g/netns/" + id}},
			Addresses:  []network.Address{{Prefix: netip.MustParsePrefix("10.244.0.2/24")}},
		},
	}
}

func well() (Known, machine) {
	k := Known{
		Pods: map[string]bool{"u": true}, IDs: map[string]bool{"s": true, id: true}, Sandboxes: map[string]string{"containerd/s": "u"},
		Entries: []ledger.Entry{entry("s", noon)}, Recorded: map[string][]string{"cni": {"s"}}, Bridges: []string{"gantry0"}, Tables: []string{"gantry"},
	}
	m := machine{
		links: []link{
			{name: "lo"},
			{name: "gantry0", bridge: true},
			{name: "veth-s", master: "gantry0"},
			{name: "docker0", bridge: true},
			{name: "veth9", master: "docker0"},
		},
		routes:     []route{{to: netip.MustParseAddr("10.244.0.2"), link: "gantry0"}, {to: netip.MustParseAddr("192.0.2.1"), link: "eth0"}},
		addresses:  []address{{file: "/a/10.244.0.2", sandbox: "s"}},
		namespaces: []string{"/run/g/netns/s"}, tables: []string{"gantry"}, volumes: []string{"u"}, cgroups: map[string]string{"u": "/kubepods/podu"},
		mounts: []string{"/k/pods/u/volumes/x", "/run/g/c/" + id + "/rootfs", "/run/g/c/other"},
	}
	return k, m
}

func TestCompare(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(k *Known, m *machine)
		want   []string
	}{
		{name: "all is well", change: func(*Known, *machine) {}},
		{name: "a pod that is gone", change: func(k *Known, _ *machine) { k.Pods = map[string]bool{} }, want: []string{
			"container s", "mount /k/pods/u/volumes/x", "volume /k/pods/u", "cgroup /kubepods/podu",
		}},
		{name: "nobody knows the pods", change: func(k *Known, _ *machine) { k.Pods = nil }},
		{name: "a sandbox that is gone", change: func(k *Known, _ *machine) { k.IDs = map[string]bool{id: true} }, want: []string{"ledger s"}},
		{name: "a sandbox that is being made", change: func(k *Known, _ *machine) {
			k.IDs, k.Busy = map[string]bool{id: true}, map[string]bool{"s": true}
		}},
		{name: "one that was never made", change: func(k *Known, _ *machine) {
			k.IDs, k.Busy, k.Entries[0].Since = map[string]bool{id: true}, map[string]bool{"s": true}, noon.Add(-time.Hour)
		}, want: []string{"ledger s"}},
		{name: "the ledger does not know", change: func(k *Known, _ *machine) { k.Entries = nil }, want: []string{
			"record s", "route 10.244.0.2", "interface veth-s", "netns /run/g/netns/s", "address /a/10.244.0.2",
		}},
		{name: "an interface without a bridge", change: func(_ *Known, m *machine) {
			m.links = append(m.links, link{name: "veth1"})
			m.routes = append(m.routes, route{to: netip.MustParseAddr("10.244.0.3"), link: "veth1"})
		}, want: []string{"route 10.244.0.3", "interface veth1"}},
		{name: "plugins that are gone", change: func(k *Known, _ *machine) { k.Bridges, k.Tables = nil, nil }, want: []string{"interface gantry0", "nftables gantry"}},
		{name: "a container that is gone", change: func(k *Known, _ *machine) { delete(k.IDs, id) }, want: []string{"mount /run/g/c/" + id + "/rootfs"}},
		{name: "a further interface lives as long as its sandbox", change: func(k *Known, m *machine) {
			e := entry("s.net1", noon)
			e.Of, e.Sandbox.NetNS = "s", "/run/g/netns/s"
			k.Entries, k.Recorded["cni"] = append(k.Entries, e), []string{"s", "s.net1"}
			m.links = append(m.links, link{name: "veth-s.net1", master: "gantry0"})
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			k, m := well()
			test.change(&k, &m)
			var got []string
			for _, f := range compare(k, m, here, noon.Add(time.Minute)) {
				got = append(got, string(f.Kind)+" "+f.Name)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("findings differ (-want +got):\n%s", diff)
			}
		})
	}
}
