package fake_test

import (
	"net/netip"
	"testing"

	"github.com/gantryio/gantry/interfaces/network"
	"github.com/gantryio/gantry/interfaces/network/networktest"
	"github.com/gantryio/gantry/interfaces/plugin/conformance"
	"github.com/gantryio/gantry/interfaces/plugin/local"
	"github.com/gantryio/gantry/plugins/network/fake"
)

func TestConformance(t *testing.T) {
	for name, wire := range map[string]func(network.Network) network.Network{
		"in process": func(n network.Network) network.Network { return n },
		"over the wire": func(n network.Network) network.Network {
			conn := &local.Conn{}
			network.Register(conn, n)
			return network.NewClient(conn)
		},
	} {
		t.Run(name, func(t *testing.T) {
			n, err := fake.Open(fake.Config{})
			if err != nil {
				t.Fatal(err)
			}
			networktest.Suite{
				Network: wire(n), Namespace: func(conformance.T) string { return "/run/netns/none" },
				PodCIDR: netip.MustParsePrefix("10.9.0.0/24"),
			}.Run(t)
		})
	}
}

func TestExhausted(t *testing.T) {
	n, err := fake.Open(fake.Config{PodCIDR: "10.9.0.0/30"})
	if err != nil {
		t.Fatal(err)
	}
	for id, want := range []bool{true, true, false} {
		_, err := n.Attach(t.Context(), network.Sandbox{ID: string(rune('a' + id))})
		if got := err == nil; got != want {
			t.Errorf("attach %d: %v, want success %v", id, err, want)
		}
	}
}
