package nftables

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/gantryio/gantry/interfaces/service"
)

// A UDP client that goes on sending keeps its flow, and the flow keeps its endpoint. So when UDP services
// change, flows to endpoints that are gone are forgotten, and those that began when there was none.

// flushFlows does so when UDP services are not as at the last call.
func (p *Proxy) flushFlows(s service.Snapshot) error {
	valid := backends(s)
	for to := range p.known.byAddress {
		if _, ok := valid.byAddress[to]; !ok {
			valid.byAddress[to] = nil // a service that is gone has no endpoints
		}
	}
	for to := range p.known.byPort {
		if _, ok := valid.byPort[to]; !ok {
			valid.byPort[to] = nil
		}
	}
	var lines []string
	for to, from := range valid.byAddress {
		lines = append(lines, fmt.Sprint(to, from))
	}
	for to, from := range valid.byPort {
		lines = append(lines, fmt.Sprint(to, from))
	}
	slices.Sort(lines)
	now := strings.Join(lines, "\n")
	if now == p.flows {
		return nil
	}
	for _, f := range []netlink.InetFamily{unix.AF_INET, unix.AF_INET6} {
		if f == unix.AF_INET6 && !ipv6() {
			continue
		}
		if _, err := netlink.ConntrackDeleteFilters(netlink.ConntrackTable, f, valid); err != nil {
			return fmt.Errorf("forget stale UDP flows: %w", err)
		}
	}
	p.flows, p.known = now, backends(s)
	return nil
}

// flows says which endpoints a UDP flow may have by where its client sends.
type flows struct {
	byAddress map[netip.AddrPort][]netip.AddrPort
	byPort    map[uint16][]netip.AddrPort // node ports
}

var _ netlink.CustomConntrackFilter = (*flows)(nil)

func backends(s service.Snapshot) *flows {
	f := &flows{byAddress: map[netip.AddrPort][]netip.AddrPort{}, byPort: map[uint16][]netip.AddrPort{}}
	for _, svc := range s.Services {
		for _, p := range svc.Ports {
			if p.Protocol != "UDP" {
				continue
			}
			endpoints := []netip.AddrPort{}
			for _, e := range p.Endpoints {
				endpoints = append(endpoints, netip.AddrPortFrom(e.Address, e.Port))
			}
			for _, ip := range append(slices.Clone(svc.ClusterIPs), svc.ExternalIPs...) {
				f.byAddress[netip.AddrPortFrom(ip, p.Port)] = endpoints
			}
			if p.NodePort != 0 {
				f.byPort[p.NodePort] = endpoints
			}
		}
	}
	return f
}

// MatchConntrackFlow says that a flow is stale. A flow to a node port that was not translated may be
// anybody's, so it is left alone unless a service has the port.
func (f *flows) MatchConntrackFlow(flow *netlink.ConntrackFlow) bool {
	if flow.Forward.Protocol != unix.IPPROTO_UDP {
		return false
	}
	to, ok1 := netip.AddrFromSlice(flow.Forward.DstIP)
	from, ok2 := netip.AddrFromSlice(flow.Reverse.SrcIP)
	if !ok1 || !ok2 {
		return false
	}
	endpoints, ours := f.byAddress[netip.AddrPortFrom(to.Unmap(), flow.Forward.DstPort)]
	if !ours {
		endpoints, ours = f.byPort[flow.Forward.DstPort]
	}
	return ours && !slices.Contains(endpoints, netip.AddrPortFrom(from.Unmap(), flow.Reverse.SrcPort))
}
