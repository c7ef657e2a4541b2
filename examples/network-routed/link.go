package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/gantryio/gantry/interfaces/network"
)

// gateway is where pods send everything; the node's end of the pair answers for it.
var gateway = netip.AddrFrom4([4]byte{169, 254, 1, 1})

// connect makes the pair of interfaces of a sandbox and its routes. It begins anew where it was cut off.
func connect(s network.Sandbox, host string, addr netip.Addr) (mac string, err error) {
	ns, err := netns.GetFromPath(s.NetNS)
	if err != nil {
		return "", fmt.Errorf("open network namespace: %w", err)
	}
	defer func() { _ = ns.Close() }()
	pod, err := netlink.NewHandleAt(ns)
	if err != nil {
		return "", err
	}
	defer pod.Close()
	inside, err := pod.LinkByName(interfaceOf(s))
	if err != nil || !connected(host) {
		if err := disconnect(host); err != nil {
			return "", err
		}
		attrs := netlink.NewLinkAttrs()
		attrs.Name = host
		pair := &netlink.Veth{LinkAttrs: attrs, PeerName: interfaceOf(s), PeerNamespace: netlink.NsFd(ns)}
		if err := netlink.LinkAdd(pair); err != nil {
			return "", fmt.Errorf("make a pair of interfaces: %w", err)
		}
		if inside, err = pod.LinkByName(interfaceOf(s)); err != nil {
			return "", err
		}
	}
	outside, err := netlink.LinkByName(host)
	if err != nil {
		return "", err
	}
	return inside.Attrs().HardwareAddr.String(), errors.Join(furnish(pod, inside, outside, s, addr), deliver(outside, addr))
}

// furnish sets up the pod's end.
func furnish(pod *netlink.Handle, inside, outside netlink.Link, s network.Sandbox, addr netip.Addr) error {
	own := &netlink.Addr{IPNet: single(addr)}
	if err := pod.AddrReplace(inside, own); err != nil {
		return fmt.Errorf("set address: %w", err)
	}
	if err := pod.LinkSetUp(inside); err != nil {
		return err
	}
	if interfaceOf(s) != network.DefaultInterface {
		return nil
	}
	via := net.IP(gateway.AsSlice())
	err := pod.NeighSet(&netlink.Neigh{
		LinkIndex: inside.Attrs().Index, State: netlink.NUD_PERMANENT, IP: via, HardwareAddr: outside.Attrs().HardwareAddr,
	})
	if err != nil {
		return fmt.Errorf("name the gateway: %w", err)
	}
	all := &net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}
	route := &netlink.Route{LinkIndex: inside.Attrs().Index, Dst: all, Gw: via, Flags: int(netlink.FLAG_ONLINK)}
	if err := pod.RouteReplace(route); err != nil {
		return fmt.Errorf("set default route: %w", err)
	}
	return nil
}

// deliver lets the node send the pod's packets to it.
func deliver(outside netlink.Link, addr netip.Addr) error {
	if err := netlink.LinkSetUp(outside); err != nil {
		return err
	}
	route := &netlink.Route{LinkIndex: outside.Attrs().Index, Dst: single(addr), Scope: netlink.SCOPE_LINK}
	if err := netlink.RouteReplace(route); err != nil {
		return fmt.Errorf("set route to the pod: %w", err)
	}
	return nil
}

func single(addr netip.Addr) *net.IPNet {
	return &net.IPNet{IP: addr.AsSlice(), Mask: net.CIDRMask(32, 32)}
}

// disconnect removes the pair; what is not there is no error.
func disconnect(host string) error {
	l, err := netlink.LinkByName(host)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil
	}
	if err != nil {
		return err
	}
	return netlink.LinkDel(l)
}

func connected(host string) bool {
	_, err := netlink.LinkByName(host)
	return err == nil
}
