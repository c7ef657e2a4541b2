//go:build e2e

package audit_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"

	"github.com/gantryio/gantry/core/agent/attach"
	"github.com/gantryio/gantry/core/agent/audit"
	"github.com/gantryio/gantry/core/agent/cgroup"
	"github.com/gantryio/gantry/core/pluginhost"
	"github.com/gantryio/gantry/core/pluginhost/ledger"
	"github.com/gantryio/gantry/interfaces/network"
	"github.com/gantryio/gantry/interfaces/plugin"
	"github.com/gantryio/gantry/interfaces/plugin/plugintest"
	"github.com/gantryio/gantry/plugins/network/cni"
)

func TestMain(m *testing.M) { os.Exit(plugintest.Isolate(m)) }

// bench is a node's networks on a machine of their own.
type bench struct {
	dir      string
	networks map[string]*cni.Network
	// crash is called with the name of each step that has just been taken.
	crash func(step string)
	live  map[string]bool
}

func newBench(t *testing.T) *bench {
	t.Helper()
	bin, err := filepath.Abs("../../../bin/stack/cni")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(bin, "bridge")); err != nil {
		t.Skip("the node stack is not built: make -C stack")
	}
	b := &bench{dir: t.TempDir(), networks: map[string]*cni.Network{}, crash: func(string) {}, live: map[string]bool{}}
	for name, c := range map[string]cni.Config{"cni": {}, "side": {Bridge: "gantry-side", Subnet: netip.MustParsePrefix("10.250.0.0/24")}} {
		c.Dir, c.Addresses, c.BinDirs = filepath.Join(b.dir, name), filepath.Join(b.dir, "addresses"), []string{bin}
		if b.networks[name], err = cni.Open(c); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := b.networks[name].Stop(context.WithoutCancel(t.Context())); err != nil {
				t.Error(err)
			}
		})
	}
	return b
}

// stepping is a network whose callers die around its calls.
type stepping struct {
	network.Network
	name string
	b    *bench
}

func (s stepping) Attach(ctx context.Context, sandbox network.Sandbox) (network.Attachment, error) {
	s.b.crash("before attach " + s.name)
	a, err := s.Network.Attach(ctx, sandbox)
	s.b.crash("after attach " + s.name)
	return a, err
}

func (s stepping) Detach(ctx context.Context, sandbox network.Sandbox) error {
	s.b.crash("before detach " + s.name)
	err := s.Network.Detach(ctx, sandbox)
	s.b.crash("after detach " + s.name)
	return err
}

// Network implements attach.Networks.
func (b *bench) Network(name string) (network.Network, pluginhost.Ref, error) {
	if name == "" {
		name = "cni"
	}
	n, known := b.networks[name]
	if !known {
		return nil, pluginhost.Ref{}, plugin.ErrNotFound
	}
	return stepping{n, name, b}, pluginhost.Ref{Kind: plugin.Network, Name: name}, nil
}

// Networks implements attach.Networks.
func (b *bench) Networks() []string { return []string{"cni", "side"} }

// agent starts as after a crash: with what is on disk.
func (b *bench) agent(t *testing.T) *attach.Server {
	t.Helper()
	l, err := ledger.Open(filepath.Join(b.dir, "ledger"))
	if err != nil {
		t.Fatal(err)
	}
	return &attach.Server{
		Networks: b, Ledger: l, PodCIDRs: func() []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix("10.244.7.0/24")} },
		Choose: func(context.Context, network.Sandbox) (attach.Choice, error) {
			b.crash("choose")
			return attach.Choice{Extra: []string{"side"}}, nil
		},
		Changed:  func() { b.crash("ledger changed") },
		Attached: func(network.Sandbox, network.Attachment) { b.crash("attached") },
	}
}

func (b *bench) auditor(t *testing.T, s *attach.Server) *audit.Auditor {
	return &audit.Auditor{
		Place: audit.Place{
			RunDir: filepath.Join(b.dir, "run"), KubeletDir: filepath.Join(b.dir, "kubelet"),
			AddressDirs: []string{filepath.Join(b.dir, "addresses"), filepath.Join(b.dir, "side", "addresses")},
			PodRanges:   []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16")}, OurBridge: func(name string) bool { return strings.HasPrefix(name, "gantry") },
			OurTable: func(name string) bool { return name == "gantry" }, Cgroups: cgroup.Tree{Root: "gantry-audit-test"},
		},
		Known: func(ctx context.Context) (audit.Known, error) {
			k := audit.Known{IDs: b.live, Entries: s.Ledger.List(), Busy: s.Busy(), Recorded: map[string][]string{}, Bridges: []string{"gantry0", "gantry-side"}, Tables: []string{"gantry"}}
			for name, n := range b.networks {
				ids, err := n.List(ctx)
				if err != nil {
					return k, err
				}
				k.Recorded[name] = ids
			}
			return k, nil
		},
		Remover: remover{s}, Now: time.Now,
	}
}

type remover struct{ *attach.Server }

func (remover) RemoveContainer(context.Context, string, string) error {
	return errors.New("there are no containers")
}

// untilStep runs do and lets it die after so many steps; it returns which step that was, "" when do has ended before.
func (b *bench) untilStep(steps int, do func()) (at string) {
	type death struct{ step string }
	b.crash = func(step string) {
		if steps--; steps < 0 {
			panic(death{step})
		}
	}
	defer func() {
		b.crash = func(string) {}
		if d, died := recover().(death); died {
			at = d.step
		}
	}()
	do()
	return ""
}

func findings(t *testing.T, a *audit.Auditor) []string {
	t.Helper()
	found, err := a.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	out := []string{}
	for _, f := range found {
		out = append(out, fmt.Sprintf("%s %s: %s", f.Kind, f.Name, f.Detail))
	}
	return out
}

func TestCrashesLeaveNothing(t *testing.T) {
	b := newBench(t)
	ended := map[string]bool{}
	for _, what := range []string{"attach", "detach"} {
		for steps := 0; !ended[what]; steps++ {
			s := network.Sandbox{ID: fmt.Sprintf("%s%d", what, steps), NetNS: plugintest.Namespace(t)}
			first := b.agent(t)
			if what == "detach" {
				if _, err := first.Attach(t.Context(), s); err != nil {
					t.Fatal(err)
				}
			}
			at := b.untilStep(steps, func() {
				var err error
				if what == "attach" {
					_, err = first.Attach(t.Context(), s)
				} else {
					err = first.Detach(t.Context(), s.ID)
				}
				if err != nil {
					t.Error(err)
				}
			})
			ended[what] = at == ""
			second := b.agent(t)
			if err := second.Reconcile(t.Context(), nil); err != nil {
				t.Errorf("%s, crash at step %d (%s): reconcile: %v", what, steps, at, err)
			}
			if got := findings(t, b.auditor(t, second)); len(got) > 0 {
				t.Errorf("%s, crash at step %d (%s), leaves %v", what, steps, at, got)
			}
			if steps > 30 {
				t.Fatal("there is no end of steps")
			}
		}
	}
}

func TestFixRemovesWhatIsPlanted(t *testing.T) {
	b := newBench(t)
	s := b.agent(t)
	for _, id := range []string{"kept", "lost"} {
		if _, err := s.Attach(t.Context(), network.Sandbox{ID: id, NetNS: plugintest.Namespace(t)}); err != nil {
			t.Fatal(err)
		}
	}
	b.live["kept"], b.live["lost"] = true, true
	a := b.auditor(t, s)
	if got := findings(t, a); len(got) > 0 {
		t.Fatalf("before anything was planted: %v", got)
	}
	if err := s.Ledger.Forget("lost"); err != nil { // what is left of it: a record, an address, an interface, a route
		t.Fatal(err)
	}
	if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "gantry-old"}}); err != nil {
		t.Fatal(err)
	}
	leaked := filepath.Join(b.dir, "addresses", "gantry", "10.244.7.200")
	if err := os.WriteFile(leaked, []byte("nobody\r\neth0"), 0o600); err != nil {
		t.Fatal(err)
	}
	volume := filepath.Join(b.dir, "kubelet", "pods", "nobody")
	if err := os.MkdirAll(volume, 0o700); err != nil {
		t.Fatal(err)
	}
	known := a.Known
	a.Known = func(ctx context.Context) (audit.Known, error) {
		k, err := known(ctx)
		k.Pods = map[string]bool{}
		return k, err
	}
	found, err := a.Fix(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[audit.Kind]int{}
	for _, f := range found {
		if kinds[f.Kind]++; !f.Fixed {
			t.Errorf("not fixed: %+v", f)
		}
	}
	want := map[audit.Kind]int{audit.Record: 1, audit.Route: 1, audit.Interface: 2, audit.Address: 2, audit.Volume: 1}
	if diff := cmp.Diff(want, kinds); diff != "" {
		t.Errorf("findings differ (-want +got):\n%s", diff)
	}
	if got := findings(t, a); len(got) > 0 {
		t.Errorf("after fix: %v", got)
	}
	for _, id := range []string{"kept", "lost"} {
		if err := s.Detach(t.Context(), id); err != nil {
			t.Error(err)
		}
	}
}
