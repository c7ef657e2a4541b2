package attach_test

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryio/gantry/core/agent/attach"
	"github.com/gantryio/gantry/core/pluginhost"
	"github.com/gantryio/gantry/core/pluginhost/ledger"
	"github.com/gantryio/gantry/interfaces/network"
	"github.com/gantryio/gantry/interfaces/plugin"
	"github.com/gantryio/gantry/plugins/network/fake"
)

// networks are fakes by name; "" is the one called first.
type networks map[string]*fake.Network

func (n networks) Network(name string) (network.Network, pluginhost.Ref, error) {
	if name == "" {
		name = "first"
	}
	f, ok := n[name]
	if !ok {
		return nil, pluginhost.Ref{}, plugin.ErrNotFound
	}
	return f, pluginhost.Ref{Kind: plugin.Network, Name: name}, nil
}

func (n networks) Networks() []string { return slices.Sorted(maps.Keys(n)) }

func open(t *testing.T) *fake.Network {
	t.Helper()
	f, err := fake.Open(fake.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func server(t *testing.T, n networks, dir string) *attach.Server {
	t.Helper()
	l, err := ledger.Open(filepath.Join(dir, "ledger"))
	if err != nil {
		t.Fatal(err)
	}
	return &attach.Server{
		Socket: filepath.Join(dir, "s"), Networks: n, Ledger: l,
		PodCIDRs: func() []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix("10.9.0.0/24")} },
	}
}

func sandbox(id string) network.Sandbox { return network.Sandbox{ID: id, NetNS: "/run/netns/x"} }

func TestDetachGoesToThePluginThatAttached(t *testing.T) {
	n := networks{"first": open(t), "second": open(t)}
	s := server(t, n, t.TempDir())
	if _, err := s.Attach(t.Context(), sandbox("a")); err != nil {
		t.Fatal(err)
	}
	s.Choose = func(context.Context, network.Sandbox) (attach.Choice, error) {
		return attach.Choice{Network: "second"}, nil
	}
	if _, err := s.Attach(t.Context(), sandbox("b")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Attach(t.Context(), sandbox("a")); err != nil {
		t.Fatal(err)
	}
	if len(n["first"].Dump()) != 1 || len(n["second"].Dump()) != 1 {
		t.Fatalf("attached: first %v, second %v", n["first"].Dump(), n["second"].Dump())
	}
	for range 2 {
		if err := s.Detach(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
	}
	if len(n["first"].Dump()) != 0 || len(n["second"].Dump()) != 1 {
		t.Errorf("after detach: first %v, second %v", n["first"].Dump(), n["second"].Dump())
	}
}

func TestLedgerForgetsOnlyAfterDetach(t *testing.T) {
	n := networks{"first": open(t)}
	s := server(t, n, t.TempDir())
	if _, err := s.Attach(t.Context(), sandbox("a")); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	n["first"].Fail(broken)
	if err := s.Detach(t.Context(), "a"); !errors.Is(err, broken) {
		t.Fatalf("detach: %v, want %v", err, broken)
	}
	if _, known := s.Ledger.Get("a"); !known {
		t.Error("the ledger forgot a sandbox that is still attached")
	}
	n["first"].Fail(broken)
	if _, err := s.Attach(t.Context(), sandbox("b")); !errors.Is(err, broken) {
		t.Fatalf("attach: %v, want %v", err, broken)
	}
	if _, known := s.Ledger.Get("b"); !known {
		t.Error("the ledger does not know of a failed attach")
	}
}

func TestReconcile(t *testing.T) {
	dir := t.TempDir()
	n := networks{"first": open(t), "second": open(t)}
	before := server(t, n, dir)
	for _, id := range []string{"live", "dead"} {
		if _, err := before.Attach(t.Context(), sandbox(id)); err != nil {
			t.Fatal(err)
		}
	}
	before.Choose = func(context.Context, network.Sandbox) (attach.Choice, error) {
		return attach.Choice{Network: "second"}, nil
	}
	if _, err := before.Attach(t.Context(), sandbox("dead-second")); err != nil {
		t.Fatal(err)
	}
	if _, err := n["first"].Attach(t.Context(), sandbox("unknown")); err != nil {
		t.Fatal(err)
	}
	after := server(t, n, dir)
	if _, err := after.Attach(t.Context(), sandbox("fresh")); err != nil {
		t.Fatal(err)
	}
	if err := after.Reconcile(t.Context(), []string{"live"}); err != nil {
		t.Fatal(err)
	}
	ids, _ := n["first"].List(t.Context())
	second, _ := n["second"].List(t.Context())
	if diff := cmp.Diff([]string{"fresh", "live"}, ids); diff != "" || len(second) != 0 {
		t.Errorf("attached after reconcile differs (-want +got):\n%s\nsecond: %v", diff, second)
	}
}

func call(t *testing.T, socket string, request map[string]any) map[string]any {
	t.Helper()
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := json.NewEncoder(conn).Encode(request); err != nil {
		t.Fatal(err)
	}
	var out map[string]any
	if err := json.NewDecoder(conn).Decode(&out); err != nil {
		t.Fatal(err)
	}
	return out
}

func run(t *testing.T, s *attach.Server) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	for until := time.Now().Add(10 * time.Second); ; {
		conn, err := net.Dial("unix", s.Socket)
		if err == nil {
			_ = conn.Close()
			return
		}
		if time.Now().After(until) {
			t.Fatal(err)
		}
	}
}

func TestSocket(t *testing.T) {
	n := networks{"first": open(t)}
	s := server(t, n, t.TempDir())
	var told network.Attachment
	s.Attached = func(_ network.Sandbox, a network.Attachment) { told = a }
	run(t, s)
	add := map[string]any{
		"command": "ADD", "containerID": "a", "netns": "/run/netns/x", "ifName": "eth0",
		"args": "IgnoreUnknown=1;K8S_POD_NAMESPACE=ns;K8S_POD_NAME=pod;K8S_POD_UID=uid",
		"config": map[string]any{"cniVersion": "1.0.0", "runtimeConfig": map[string]any{
			"portMappings": []any{map[string]any{"hostPort": 80, "containerPort": 8080, "protocol": "tcp"}},
		}},
	}
	got := call(t, s.Socket, add)
	want := map[string]any{"result": map[string]any{
		"cniVersion": "1.0.0",
		"interfaces": []any{map[string]any{"name": "eth0", "mac": "02:00:00:00:00:00", "sandbox": "/run/netns/x"}},
		"ips":        []any{map[string]any{"address": "10.9.0.2/24", "gateway": "10.9.0.1", "interface": 0.0}},
		"routes":     []any{}, "dns": map[string]any{},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("answer differs (-want +got):\n%s", diff)
	}
	if len(told.Addresses) != 1 {
		t.Errorf("the agent was told of %v", told)
	}
	e, _ := s.Ledger.Get("a")
	if e.Sandbox.PodName != "pod" || e.Sandbox.PodUID != "uid" || len(e.Sandbox.HostPorts) != 1 || e.Sandbox.HostPorts[0].Protocol != "TCP" {
		t.Errorf("the ledger has %+v", e.Sandbox)
	}
	ports := s.HostPorts()
	if len(ports) != 1 || ports[0].Ports[0].NodePort != 80 || ports[0].Ports[0].Endpoints[0].Port != 8080 {
		t.Errorf("host ports are %+v", ports)
	}
	if got := call(t, s.Socket, map[string]any{"command": "CHECK", "containerID": "a"}); len(got) != 0 {
		t.Errorf("check answers %v", got)
	}
	if got := call(t, s.Socket, map[string]any{"command": "DEL", "containerID": "a"}); len(got) != 0 || len(n["first"].Dump()) != 0 {
		t.Errorf("delete answers %v, attached are %v", got, n["first"].Dump())
	}
	if got := call(t, s.Socket, map[string]any{"command": "FLY"}); got["error"] == nil {
		t.Errorf("an unknown command answers %v", got)
	}
}

func TestNoPodRangeYet(t *testing.T) {
	s := server(t, networks{"first": open(t)}, t.TempDir())
	s.PodCIDRs = func() []netip.Prefix { return nil }
	if _, err := s.Attach(t.Context(), sandbox("a")); !errors.Is(err, plugin.ErrUnavailable) {
		t.Errorf("attach without a pod range: %v, want %v", err, plugin.ErrUnavailable)
	}
	if len(s.Ledger.List()) != 0 {
		t.Error("the ledger has an entry of a call that nobody was asked")
	}
}

func TestFurtherInterfaces(t *testing.T) {
	dir := t.TempDir()
	n := networks{"first": open(t), "second": open(t)}
	s := server(t, n, dir)
	s.Choose = func(context.Context, network.Sandbox) (attach.Choice, error) {
		return attach.Choice{Extra: []string{"second", "first"}}, nil
	}
	if _, err := s.Attach(t.Context(), sandbox("a")); err != nil {
		t.Fatal(err)
	}
	s.Choose = nil // The ledger remembers.
	a, err := s.Attach(t.Context(), sandbox("a"))
	if err != nil || a.Interfaces[0].Name != "eth0" {
		t.Fatalf("attached again: %v, %v", a, err)
	}
	attached := func() map[string][]string {
		out := map[string][]string{}
		for name, f := range n {
			out[name] = slices.Sorted(maps.Keys(f.Dump()))
		}
		return out
	}
	if diff := cmp.Diff(map[string][]string{"first": {"a", "a.net2"}, "second": {"a.net1"}}, attached()); diff != "" {
		t.Errorf("attached (-want +got):\n%s", diff)
	}
	if err := server(t, n, dir).Reconcile(t.Context(), []string{"a"}); err != nil || len(n["second"].Dump()) != 1 {
		t.Errorf("after reconcile second has %v, %v", n["second"].Dump(), err)
	}
	n["second"].Fail(errors.New("broken"))
	if err := s.Detach(t.Context(), "a"); err == nil {
		t.Error("a failed detach of an interface was not told")
	}
	if err := server(t, n, dir).Reconcile(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string][]string{"first": nil, "second": nil}, attached()); diff != "" {
		t.Errorf("attached at the end (-want +got):\n%s", diff)
	}
}

func TestUnknownNetworkLeavesNoEntry(t *testing.T) {
	for _, c := range []attach.Choice{{Network: "third"}, {Extra: []string{"third"}}} {
		s := server(t, networks{"first": open(t)}, t.TempDir())
		s.Choose = func(context.Context, network.Sandbox) (attach.Choice, error) { return c, nil }
		if _, err := s.Attach(t.Context(), sandbox("a")); !errors.Is(err, plugin.ErrNotFound) {
			t.Errorf("attach: %v, want %v", err, plugin.ErrNotFound)
		}
		if len(s.Ledger.List()) != 0 {
			t.Errorf("the ledger has %v", s.Ledger.List())
		}
	}
}
