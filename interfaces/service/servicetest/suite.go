// Package servicetest is the conformance suite of service plugins.
package servicetest

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/gantryio/gantry/interfaces/service"
)

// Suite is what a proxy under test has to bring along.
type Suite struct {
	Proxy service.Proxy
	// Reach says who answers a TCP connection from the node to an address: the backend's name, "refused"
	// or "none". Without it only Sync itself is tested.
	Reach func(to netip.AddrPort) string
	// Backend starts a backend and returns it as an endpoint, and its name.
	Backend func(t *testing.T) (service.Endpoint, string)
}

const (
	port     = 80
	nodePort = 30080
	refused  = "refused"
)

var clusterIP = netip.MustParseAddr("10.96.0.10")

// Run runs the suite. The proxy ends with an empty snapshot.
func (s Suite) Run(t *testing.T) {
	t.Cleanup(func() { s.sync(t, service.Snapshot{}) })
	t.Run("sync is idempotent", func(t *testing.T) {
		for range 2 {
			s.sync(t, snapshot(service.Endpoint{Address: netip.MustParseAddr("10.244.0.9"), Port: 8080}))
		}
		for range 2 {
			s.sync(t, service.Snapshot{})
		}
	})
	if s.Reach == nil {
		return
	}
	t.Run("endpoints come and go", s.endpoints)
}

func snapshot(endpoints ...service.Endpoint) service.Snapshot {
	return service.Snapshot{Services: []service.Service{{
		Namespace: "conformance", Name: "web", ClusterIPs: []netip.Addr{clusterIP},
		Ports: []service.Port{{Name: "http", Protocol: "TCP", Port: port, NodePort: nodePort, Endpoints: endpoints}},
	}}}
}

func (s Suite) sync(t *testing.T, snap service.Snapshot) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := s.Proxy.Sync(ctx, snap); err != nil {
		t.Fatalf("sync: %v", err)
	}
}

func (s Suite) endpoints(t *testing.T) {
	one, oneName := s.Backend(t)
	two, twoName := s.Backend(t)
	to := netip.AddrPortFrom(clusterIP, port)

	s.sync(t, snapshot(one, two))
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
