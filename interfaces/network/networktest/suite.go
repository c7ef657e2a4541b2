// Package networktest is the conformance suite of network plugins.
package networktest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryio/gantry/interfaces/network"
	"github.com/gantryio/gantry/interfaces/plugin"
	"github.com/gantryio/gantry/interfaces/plugin/conformance"
)

// Suite is what a network under test has to bring along.
type Suite struct {
	Network network.Network
	// Namespace makes a network namespace that is removed when the test ends, and returns its path.
	Namespace func(t conformance.T) string
	// PodCIDR has room for some addresses.
	PodCIDR netip.Prefix
}

// Run runs the suite. Everything it made is removed again.
func (s Suite) Run(t *testing.T) { conformance.Test(t, s.Cases()) }

// Cases are what Run runs.
func (s Suite) Cases() []conformance.Case {
	return []conformance.Case{
		{Name: "attach is idempotent", Run: s.idempotent},
		{Name: "sandboxes differ", Run: s.differ},
		{Name: "detach", Run: s.detach},
		{Name: "detach without the namespace", Run: s.gone},
		{Name: "attach after detach", Run: s.again},
		{Name: "sandboxes at the same time", Run: s.concurrent},
		{Name: "one sandbox many times at once", Run: s.atOnce},
		{Name: "a call that is given up", Run: s.givenUp},
		{Name: "status", Run: func(t conformance.T) {
			if err := s.Network.Status(start(t)); err != nil {
				t.Error(err)
			}
		}},
	}
}

func start(t conformance.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func (s Suite) sandbox(t conformance.T, id string) network.Sandbox {
	sandbox := network.Sandbox{
		ID: id, NetNS: s.Namespace(t), PodNamespace: "conformance", PodName: id, PodUID: "uid-" + id, PodCIDRs: []netip.Prefix{s.PodCIDR},
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := s.Network.Detach(ctx, sandbox); err != nil {
			t.Errorf("detach %s: %v", id, err)
		}
	})
	return sandbox
}

func (s Suite) attach(ctx context.Context, t conformance.T, sandbox network.Sandbox) network.Attachment {
	t.Helper()
	a, err := s.Network.Attach(ctx, sandbox)
	if err != nil {
		t.Fatalf("attach %s: %v", sandbox.ID, err)
	}
	if len(a.Addresses) == 0 || !s.PodCIDR.Contains(a.Addresses[0].Prefix.Addr()) {
		t.Fatalf("attachment has addresses %v, want some in %s", a.Addresses, s.PodCIDR)
	}
	return a
}

func (s Suite) idempotent(t conformance.T) {
	ctx := start(t)
	sandbox := s.sandbox(t, "idempotent")
	first := s.attach(ctx, t, sandbox)
	second := s.attach(ctx, t, sandbox)
	if diff := cmp.Diff(first, second, cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Errorf("the second attachment differs (-first +second):\n%s", diff)
	}
	if err := s.Network.Check(ctx, sandbox); err != nil {
		t.Errorf("check an attached sandbox: %v", err)
	}
}

func (s Suite) differ(t conformance.T) {
	ctx := start(t)
	one, two := s.attach(ctx, t, s.sandbox(t, "one")), s.attach(ctx, t, s.sandbox(t, "two"))
	if one.Addresses[0].Prefix.Addr() == two.Addresses[0].Prefix.Addr() {
		t.Errorf("two sandboxes have the address %s", one.Addresses[0].Prefix)
	}
	ids, err := s.Network.List(ctx)
	if err != nil || !slices.Contains(ids, "one") || !slices.Contains(ids, "two") {
		t.Errorf("list is %v, %v; want one and two", ids, err)
	}
}

func (s Suite) detach(t conformance.T) {
	ctx := start(t)
	sandbox := s.sandbox(t, "detach")
	s.attach(ctx, t, sandbox)
	for range 2 {
		if err := s.Network.Detach(ctx, sandbox); err != nil {
			t.Fatalf("detach: %v", err)
		}
	}
	s.absent(ctx, t, sandbox)
	if err := s.Network.Detach(ctx, network.Sandbox{ID: "never-seen"}); err != nil {
		t.Errorf("detach an unknown sandbox: %v", err)
	}
}

func (s Suite) absent(ctx context.Context, t conformance.T, sandbox network.Sandbox) {
	t.Helper()
	if err := s.Network.Check(ctx, sandbox); !errors.Is(err, plugin.ErrNotFound) {
		t.Errorf("check a detached sandbox: %v, want %v", err, plugin.ErrNotFound)
	}
	if ids, err := s.Network.List(ctx); err != nil || slices.Contains(ids, sandbox.ID) {
		t.Errorf("list after detach is %v, %v", ids, err)
	}
}

func (s Suite) gone(t conformance.T) {
	ctx := start(t)
	sandbox := s.sandbox(t, "gone")
	s.attach(ctx, t, sandbox)
	if err := s.Network.Detach(ctx, network.Sandbox{ID: sandbox.ID}); err != nil {
		t.Fatalf("detach by ID alone: %v", err)
	}
	s.absent(ctx, t, sandbox)
}

func (s Suite) again(t conformance.T) {
	ctx := start(t)
	sandbox := s.sandbox(t, "again")
	for range 3 {
		s.attach(ctx, t, sandbox)
		if err := s.Network.Detach(ctx, sandbox); err != nil {
			t.Fatalf("detach: %v", err)
		}
		s.absent(ctx, t, sandbox)
	}
}

func (s Suite) concurrent(t conformance.T) {
	ctx := start(t)
	const many = 6
	var sandboxes []network.Sandbox
	for i := range many {
		sandboxes = append(sandboxes, s.sandbox(t, fmt.Sprintf("concurrent-%d", i)))
	}
	seen := addresses(attachAll(ctx, t, s.Network, sandboxes))
	if len(seen) != many {
		t.Errorf("%d sandboxes that were attached at the same time have the addresses %v", many, seen)
	}
}

func (s Suite) atOnce(t conformance.T) {
	ctx := start(t)
	sandbox := s.sandbox(t, "at-once")
	seen := addresses(attachAll(ctx, t, s.Network, []network.Sandbox{sandbox, sandbox, sandbox, sandbox}))
	if len(seen) != 1 {
		t.Errorf("one sandbox that was attached many times at once has the addresses %v", seen)
	}
}

func attachAll(ctx context.Context, t conformance.T, n network.Network, sandboxes []network.Sandbox) []network.Attachment {
	var wg sync.WaitGroup
	out := make([]network.Attachment, len(sandboxes))
	for i, sandbox := range sandboxes {
		wg.Go(func() {
			a, err := n.Attach(ctx, sandbox)
			if err != nil || len(a.Addresses) == 0 {
				t.Errorf("attach %s: %v, %v", sandbox.ID, a.Addresses, err)
			}
			out[i] = a
		})
	}
	wg.Wait()
	return out
}

// addresses are the different first ones.
func addresses(attachments []network.Attachment) map[netip.Addr]bool {
	out := map[netip.Addr]bool{}
	for _, a := range attachments {
		for _, d := range a.Addresses[:min(1, len(a.Addresses))] {
			out[d.Prefix.Addr()] = true
		}
	}
	return out
}

// givenUp attaches and goes away. Whatever became of it, a detach takes it all away.
func (s Suite) givenUp(t conformance.T) {
	for i, patience := range []time.Duration{0, time.Millisecond, 10 * time.Millisecond, 50 * time.Millisecond} {
		sandbox := s.sandbox(t, fmt.Sprintf("given-up-%d", i))
		brief, cancel := context.WithTimeout(context.Background(), patience)
		_, _ = s.Network.Attach(brief, sandbox)
		cancel()
		ctx := start(t)
		if err := s.Network.Detach(ctx, sandbox); err != nil {
			t.Fatalf("detach: %v", err)
		}
		s.absent(ctx, t, sandbox)
	}
}
