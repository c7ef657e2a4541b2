// Package guard keeps cluster traffic on the machine. Pod and service ranges are private to the cluster:
// a packet to an address in them that nothing here answers for must never follow the default route to
// whoever else uses that range.
//
// Pod ranges get an unreachable route, which the routes of real pod networks, being more specific, go
// before. That would not do for service ranges: the kernel looks up a route for what a local process sends
// before the address is translated to an endpoint, and would refuse. So service ranges get a route to the
// loopback interface, and a filter behind the translation rejects what was not translated. Were that
// filter lost, packets would still only go round on loopback until their time to live ends.
package guard

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	// protocol marks our routes (rtnetlink(7), rtm_protocol); above 4 it means nothing to the kernel.
	protocol = 103
	// metric lets any real route to the same range go first.
	metric = 1 << 30
	table  = "gantry-guard"
)

// Install makes the guards for the ranges exactly, whatever was installed before, and brings loopback up.
// It is idempotent.
func Install(pods, services []netip.Prefix) error {
	lo, err := loopback()
	if err != nil {
		return err
	}
	wanted := map[string]bool{}
	for _, r := range routes(pods, services, lo.Attrs().Index) {
		wanted[r.Dst.String()+fmt.Sprint(r.Type)] = true
		if err := netlink.RouteReplace(&r); err != nil {
			return fmt.Errorf("guard %s: %w", r.Dst, err)
		}
	}
	if err := reject(services); err != nil {
		return err
	}
	return remove(func(r netlink.Route) bool { return wanted[r.Dst.String()+fmt.Sprint(r.Type)] })
}

// Remove takes all guards away. It is idempotent.
func Remove() error {
	if err := reject(nil); err != nil {
		return err
	}
	return remove(func(netlink.Route) bool { return false })
}

func loopback() (netlink.Link, error) {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return nil, fmt.Errorf("find loopback: %w", err)
	}
	if lo.Attrs().Flags&net.FlagUp != 0 {
		return lo, nil
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return nil, fmt.Errorf("bring loopback up: %w", err)
	}
	return lo, nil
}

// routes are the wanted routes.
func routes(pods, services []netip.Prefix, lo int) []netlink.Route {
	var out []netlink.Route
	for _, p := range pods {
		out = append(out, netlink.Route{Dst: ipNet(p), Type: unix.RTN_UNREACHABLE, Protocol: protocol, Priority: metric})
	}
	for _, p := range services {
		// Scope universe keeps the kernel from choosing 127.0.0.1 as the source address, which with scope
		// link it does once route_localnet is on.
		out = append(out, netlink.Route{
			Dst: ipNet(p), LinkIndex: lo, Type: unix.RTN_UNICAST, Scope: netlink.SCOPE_UNIVERSE, Protocol: protocol, Priority: metric,
		})
	}
	return out
}

func ipNet(p netip.Prefix) *net.IPNet {
	p = p.Masked()
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// remove deletes our routes but those to keep.
func remove(keep func(netlink.Route) bool) error {
	var errs []error
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		list, err := netlink.RouteListFiltered(family, &netlink.Route{Protocol: protocol}, netlink.RT_FILTER_PROTOCOL)
		if err != nil {
			errs = append(errs, fmt.Errorf("list routes: %w", err))
			continue
		}
		for _, r := range list {
			if r.Dst == nil || keep(r) {
				continue
			}
			if err := netlink.RouteDel(&r); err != nil && !errors.Is(err, syscall.ESRCH) {
				errs = append(errs, fmt.Errorf("remove guard of %s: %w", r.Dst, err))
			}
		}
	}
	return errors.Join(errs...)
}

// reject replaces the filter, in one transaction; without ranges there is none afterwards. TCP is answered
// with a reset, for a connection that is just being made ignores ICMP errors for a second.
func reject(services []netip.Prefix) error {
	conn, err := nftables.New()
	if err != nil {
		return fmt.Errorf("open nftables: %w", err)
	}
	t := &nftables.Table{Name: table, Family: nftables.TableFamilyINet}
	conn.AddTable(t) // So that there is one to delete.
	conn.DelTable(t)
	if len(services) > 0 {
		conn.AddTable(t)
		for name, hook := range map[string]*nftables.ChainHook{"output": nftables.ChainHookOutput, "forward": nftables.ChainHookForward} {
			chain := conn.AddChain(&nftables.Chain{
				Table: t, Name: name, Type: nftables.ChainTypeFilter, Hooknum: hook, Priority: nftables.ChainPriorityFilter,
			})
			for _, p := range services {
				to := destination(p)
				conn.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: append(slices.Clone(to),
					&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
					&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_TCP}},
					&expr.Reject{Type: unix.NFT_REJECT_TCP_RST},
				)})
				conn.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: append(slices.Clone(to),
					&expr.Reject{Type: unix.NFT_REJECT_ICMPX_UNREACH, Code: unix.NFT_REJECT_ICMPX_HOST_UNREACH},
				)})
			}
		}
	}
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("reject what goes to no service: %w", err)
	}
	return nil
}

// destination matches packets to a range.
func destination(p netip.Prefix) []expr.Any {
	family, offset := byte(unix.NFPROTO_IPV4), uint32(16)
	if p.Addr().Is6() {
		family, offset = unix.NFPROTO_IPV6, 24
	}
	n := ipNet(p)
	size := uint32(len(n.Mask))
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{family}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: size},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: size, Mask: n.Mask, Xor: make([]byte, size)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: n.IP},
	}
}
