package fake_test

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryio/gantry/interfaces/plugin/local"
	"github.com/gantryio/gantry/interfaces/service"
	"github.com/gantryio/gantry/interfaces/service/servicetest"
	"github.com/gantryio/gantry/plugins/service/fake"
)

func TestConformance(t *testing.T) {
	p, err := fake.Open(fake.Config{})
	if err != nil {
		t.Fatal(err)
	}
	servicetest.Suite{Proxy: p}.Run(t)
}

func TestWireKeepsEverything(t *testing.T) {
	p, err := fake.Open(fake.Config{})
	if err != nil {
		t.Fatal(err)
	}
	conn := &local.Conn{}
	service.Register(conn, p)
	want := service.Snapshot{
		NodeAddresses: []netip.Addr{netip.MustParseAddr("192.0.2.1")},
		Affinities: []service.Affinity{{
			Namespace: "a", Name: "b", Port: "p", Protocol: "UDP", Left: 3 * time.Second,
			Client: netip.MustParseAddr("10.244.0.7"), Endpoint: netip.MustParseAddrPort("10.244.0.2:5353"),
		}},
		PodCIDRs: []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16"), netip.MustParsePrefix("fd00::/64")},
		Services: []service.Service{{
			Namespace: "a", Name: "b", ClusterIPs: []netip.Addr{netip.MustParseAddr("fd01::1")},
			ExternalIPs: []netip.Addr{netip.MustParseAddr("192.0.2.9")}, AffinitySeconds: 7, InternalLocal: true, ExternalLocal: true,
			Ports: []service.Port{{Name: "p", Protocol: "UDP", Port: 53, NodePort: 30053, Endpoints: []service.Endpoint{
				{Address: netip.MustParseAddr("10.244.0.2"), Port: 5353, Local: true},
			}}},
		}},
	}
	if err := service.NewClient(conn).Sync(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	got, syncs, _ := p.Dump()
	same := []cmp.Option{cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }), cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })}
	if diff := cmp.Diff(want, got, same...); diff != "" || syncs != 1 {
		t.Errorf("snapshot after %d syncs differs (-want +got):\n%s", syncs, diff)
	}
	kept, err := service.NewClient(conn).Affinities(t.Context())
	if diff := cmp.Diff(want.Affinities, kept, same...); diff != "" || err != nil {
		t.Errorf("affinities differ (-want +got), %v:\n%s", err, diff)
	}
}

func TestFail(t *testing.T) {
	p, err := fake.Open(fake.Config{})
	if err != nil {
		t.Fatal(err)
	}
	wanted := errors.New("no")
	p.Fail(wanted)
	if err := p.Sync(t.Context(), service.Snapshot{}); !errors.Is(err, wanted) {
		t.Errorf("got %v, want %v", err, wanted)
	}
}
