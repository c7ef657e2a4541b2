//go:build e2e

package nftables_test

import (
	"net/netip"
	"strconv"
	"testing"

	"github.com/gantryio/gantry/interfaces/service"
)

// Thousands of rules in one transaction are answered by as many messages, which a socket does not hold by itself.
func TestManyServicesAtOnce(t *testing.T) {
	n := newNode(t)
	server := n.pod(t)
	endpoint := server.serve(t)
	p := open(t)
	many := func(count int, endpoints ...service.Endpoint) service.Snapshot {
		s := web("TCP", nil, endpoints...)
		for i := range count {
			one := web("TCP", nil, service.Endpoint{Address: netip.MustParseAddr("10.244.7.200"), Port: uint16(1000 + i)}).Services[0]
			one.Name = "s" + strconv.Itoa(i)
			one.ClusterIPs = []netip.Addr{netip.AddrFrom4([4]byte{10, 96, byte(1 + i/250), byte(i % 250)})}
			one.Ports[0].NodePort = 0
			s.Services = append(s.Services, one)
		}
		return s
	}
	vip := netip.AddrPortFrom(clusterIP, 80)
	for _, step := range []struct {
		s    service.Snapshot
		want string
	}{{many(3000, endpoint), server.name}, {many(0), "refused"}, {many(3000, endpoint), server.name}, {many(0, endpoint), server.name}} {
		sync(t, p, step.s)
		if got, _ := reach(vip); got != step.want {
			t.Errorf("with %d services %q answers, want %q", len(step.s.Services), got, step.want)
		}
	}
}
