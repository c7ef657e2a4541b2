package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"github.com/vishvananda/netlink"
)

// addressLabel marks the address that ensureAddress gave to the loopback interface.
const addressLabel = "lo:gantry"

// ensureAddress gives lo the node's address where no interface has it, so that a machine, or a network
// namespace, with nothing but lo can be a node.
func (n *node) ensureAddress() error {
	if n.advertise != fallbackAddress(n.config) {
		return nil
	}
	lo, addr, err := loopbackAddress(n.advertise)
	if err != nil {
		return err
	}
	if err := netlink.AddrAdd(lo, addr); err != nil && !errors.Is(err, syscall.EEXIST) {
		return fmt.Errorf("give %s to lo: %w", n.advertise, err)
	}
	return nil
}

// removeAddress undoes ensureAddress.
func removeAddress(c *config) error {
	lo, addr, err := loopbackAddress(fallbackAddress(c))
	if err != nil {
		return err
	}
	if err := netlink.AddrDel(lo, addr); err != nil && !errors.Is(err, syscall.EADDRNOTAVAIL) && !os.IsNotExist(err) {
		return fmt.Errorf("take %s from lo: %w", addr.IP, err)
	}
	return nil
}

func loopbackAddress(ip string) (netlink.Link, *netlink.Addr, error) {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return nil, nil, fmt.Errorf("find lo: %w", err)
	}
	return lo, &netlink.Addr{
		IPNet: &net.IPNet{IP: net.ParseIP(ip), Mask: net.CIDRMask(32, 32)}, Label: addressLabel, Scope: int(netlink.SCOPE_UNIVERSE),
	}, nil
}
