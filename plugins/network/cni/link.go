package cni

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// gateways are the bridges through which a list leads pods to the node.
func gateways(list []byte) []string {
	var l struct {
		Plugins []struct {
			Type, Bridge                string
			IsGateway, IsDefaultGateway bool
		}
	}
	if err := json.Unmarshal(list, &l); err != nil {
		return nil
	}
	var out []string
	for _, p := range l.Plugins {
		if p.Type != "bridge" || !p.IsGateway && !p.IsDefaultGateway {
			continue
		}
		if p.Bridge == "" {
			p.Bridge = "cni0" // the plugin's default
		}
		out = append(out, p.Bridge)
	}
	return out
}

// connect makes a pod on a bridge reachable from everywhere on the node, also when its neighbours by address live
// elsewhere: a route leads to it alone, and the bridge answers for addresses of its range that are behind other
// interfaces. It may be repeated.
func (n *Network) connect(r *record) error {
	bridges := gateways(r.List)
	if len(bridges) == 0 || r.Result == nil {
		return nil
	}
	if err := filterBridged(); err != nil {
		return err
	}
	link, err := netlink.LinkByName(bridges[0])
	if err != nil {
		return fmt.Errorf("find bridge %s: %w", bridges[0], err)
	}
	if err := answerForOthers(bridges[0]); err != nil {
		return err
	}
	for _, a := range r.Result.Addresses {
		if err := netlink.RouteReplace(route(link, a.Prefix.Addr())); err != nil {
			return fmt.Errorf("route %s to bridge %s: %w", a.Prefix.Addr(), bridges[0], err)
		}
	}
	return nil
}

// disconnect takes away what connect made.
func (n *Network) disconnect(r *record) error {
	bridges := gateways(r.List)
	if len(bridges) == 0 || r.Result == nil {
		return nil
	}
	link, err := netlink.LinkByName(bridges[0])
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find bridge %s: %w", bridges[0], err)
	}
	for _, a := range r.Result.Addresses {
		if err := netlink.RouteDel(route(link, a.Prefix.Addr())); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("remove route of %s from bridge %s: %w", a.Prefix.Addr(), bridges[0], err)
		}
	}
	return nil
}

func route(link netlink.Link, to netip.Addr) *netlink.Route {
	r := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: &net.IPNet{IP: to.AsSlice(), Mask: net.CIDRMask(to.BitLen(), to.BitLen())}}
	if to.Is4() {
		r.Scope = netlink.SCOPE_LINK
	}
	return r
}

// answerForOthers lets the node answer ARP requests on a bridge for what it routes to elsewhere (ip-sysctl.txt,
// proxy_arp), and at once (arp(7), proxy_delay).
func answerForOthers(bridge string) error {
	for _, s := range []struct{ file, value string }{
		{filepath.Join("/proc/sys/net/ipv4/neigh", bridge, "proxy_delay"), "0"},
		{filepath.Join("/proc/sys/net/ipv4/conf", bridge, "proxy_arp"), "1"},
	} {
		if raw, err := os.ReadFile(s.file); err == nil && strings.TrimSpace(string(raw)) == s.value {
			continue
		}
		if err := os.WriteFile(s.file, []byte(s.value), 0o600); err != nil {
			return fmt.Errorf("let bridge %s answer for others: %w", bridge, err)
		}
	}
	return nil
}

// bridged lets packets between ports of a bridge pass the netfilter hooks. Without that the answer of a
// service's endpoint to a pod on the same bridge would not be translated back.
const bridged = "/proc/sys/net/bridge/bridge-nf-call-iptables"

func filterBridged() error {
	raw, err := os.ReadFile(bridged)
	if errors.Is(err, os.ErrNotExist) {
		// The module may not be loaded yet; where it is built in or absent, this changes nothing.
		_ = exec.Command("modprobe", "br_netfilter").Run()
		raw, err = os.ReadFile(bridged)
	}
	if err != nil {
		return fmt.Errorf("let bridged packets be filtered (kernel module br_netfilter): %w", err)
	}
	if len(raw) > 0 && raw[0] == '1' {
		return nil
	}
	if err := os.WriteFile(bridged, []byte("1"), 0o600); err != nil {
		return fmt.Errorf("let bridged packets be filtered: %w", err)
	}
	return nil
}

func removeLink(name string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		var missing netlink.LinkNotFoundError
		if errors.As(err, &missing) {
			return nil
		}
		return fmt.Errorf("find bridge %s: %w", name, err)
	}
	if err := netlink.LinkDel(link); err != nil {
		return fmt.Errorf("remove bridge %s: %w", name, err)
	}
	return nil
}
