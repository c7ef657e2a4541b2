// Package servicetest is the conformance suite of service plugins.
package servicetest

import (
	"context"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/gantryio/gantry/interfaces/plugin/conformance"
	"github.com/gantryio/gantry/interfaces/service"
)

// Suite is what a proxy under test has to bring along.
type Suite struct {
	Proxy service.Proxy
	// Reach says who answers a TCP connection from the node to an address: the backend's name, "refused"
	// or "none". Without it only Sync itself is tested.
	Reach func(to netip.AddrPort) string
	// Backend starts a backend and returns it as an endpoint, and its name.
	Backend func(t conformance.T) (service.Endpoint, string)
}

const (
	port     = 80
	nodePort = 30080
	refused  = "refused"
)

var clusterIP = netip.MustParseAddr("10.96.0.10")

// Run runs the suite. The proxy ends with an empty snapshot.
func (s Suite) Run(t *testing.T) { conformance.Test(t, s.Cases()) }

// Cases are what Run runs.
func (s Suite) Cases() []conformance.Case {
	out := []conformance.Case{
		{Name: "sync is idempotent", Run: s.idempotent},
		{Name: "syncs at the same time", Run: s.concurrent},
		{Name: "a call that is given up", Run: s.givenUp},
	}
	if s.Reach != nil {
		out = append(out, conformance.Case{Name: "endpoints come and go", Run: s.endpoints})
	}
	for i, c := range out {
		out[i].Run = func(t conformance.T) {
			t.Cleanup(func() { s.sync(t, service.Snapshot{}) })
			c.Run(t)
		}
	}
	return out
}

func (s Suite) idempotent(t conformance.T) {
	for range 2 {
		s.sync(t, one)
	}
	for range 2 {
		s.sync(t, service.Snapshot{})
	}
}

func (s Suite) concurrent(t conformance.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	for i := range 8 {
		snap := one
		if i%2 == 0 {
			snap = service.Snapshot{}
		}
		wg.Go(func() {
			if err := s.Proxy.Sync(ctx, snap); err != nil {
				t.Errorf("sync: %v", err)
			}
		})
	}
	wg.Wait()
}

// givenUp goes away while the proxy works. The next sync brings about all that it is told.
func (s Suite) givenUp(t conformance.T) {
	for _, patience := range []time.Duration{0, time.Millisecond, 10 * time.Millisecond} {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		_ = s.Proxy.Sync(ctx, one)
		cancel()
		s.sync(t, one)
		s.sync(t, service.Snapshot{})
	}
}

var one = snapshot(service.Endpoint{Address: netip.MustParseAddr("10.244.0.9"), Port: 8080})

func snapshot(endpoints ...service.Endpoint) service.Snapshot {
	return service.Snapshot{Services: []service.Service{{
		Namespace: "conformance", Name: "web", ClusterIPs: []netip.Addr{clusterIP},
		Ports: []service.Port{{Name: "http", Protocol: "TCP", Port: port, NodePort: nodePort, Endpoints: endpoints}},
	}}}
}

func (s Suite) sync(t conformance.T, snap service.Snapshot) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := s.Proxy.Sync(ctx, snap); err != nil {
		t.Fatalf("sync: %v", err)
	}
}

func (s Suite) endpoints(t conformance.T) {
	first, oneName := s.Backend(t)
	two, twoName := s.Backend(t)
	to := netip.AddrPortFrom(clusterIP, port)

	s.sync(t, snapshot(first, two))
	seen := map[string]int{}
	for range 100 {
		seen[s.Reach(to)]++
	}
	if len(seen) != 2 || seen[oneName] == 0 || seen[twoName] == 0 {
		t.Errorf("100 connections went to %v, want both backends and nobody else", seen)
	}
	s.sync(t, snapshot(two))
	for range 20 {
		if got := s.Reach(to); got != twoName {
			t.Errorf("with one endpoint %q answered, want %q", got, twoName)
		}
	}
	s.sync(t, snapshot())
	if got := s.Reach(to); got != refused {
		t.Errorf("without endpoints %q answered, want %q", got, refused)
	}
	s.sync(t, service.Snapshot{})
	if got := s.Reach(to); got == oneName || got == twoName {
		t.Errorf("without the service %q answered", got)
	}
}
