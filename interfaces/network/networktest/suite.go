// Package networktest is the conformance suite of network plugins.
package networktest

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryio/gantry/interfaces/network"
	"github.com/gantryio/gantry/interfaces/plugin"
)

// Suite is what a network under test has to bring along.
type Suite struct {
	Network network.Network
	// Namespace makes a network namespace that is removed when the test ends, and returns its path.
	Namespace func(t *testing.T) string
	// PodCIDR has room for some addresses.
	PodCIDR netip.Prefix
}

// Run runs the suite. Everything it made is removed again.
func (s Suite) Run(t *testing.T) {
	t.Run("attach is idempotent", s.idempotent)
	t.Run("sandboxes differ", s.differ)
	t.Run("detach", s.detach)
	t.Run("detach without the namespace", s.gone)
	t.Run("status", func(t *testing.T) {
		if err := s.Network.Status(start(t)); err != nil {
			t.Error(err)
		}
	})
}

func start(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func (s Suite) sandbox(t *testing.T, id string) network.Sandbox {
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

func (s Suite) attach(ctx context.Context, t *testing.T, sandbox network.Sandbox) network.Attachment {
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

func (s Suite) idempotent(t *testing.T) {
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

func (s Suite) differ(t *testing.T) {
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

func (s Suite) detach(t *testing.T) {
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

func (s Suite) absent(ctx context.Context, t *testing.T, sandbox network.Sandbox) {
	t.Helper()
	if err := s.Network.Check(ctx, sandbox); !errors.Is(err, plugin.ErrNotFound) {
		t.Errorf("check a detached sandbox: %v, want %v", err, plugin.ErrNotFound)
	}
	if ids, err := s.Network.List(ctx); err != nil || slices.Contains(ids, sandbox.ID) {
		t.Errorf("list after detach is %v, %v", ids, err)
	}
}

func (s Suite) gone(t *testing.T) {
	ctx := start(t)
	sandbox := s.sandbox(t, "gone")
	s.attach(ctx, t, sandbox)
	if err := s.Network.Detach(ctx, network.Sandbox{ID: sandbox.ID}); err != nil {
		t.Fatalf("detach by ID alone: %v", err)
	}
	s.absent(ctx, t, sandbox)
}
