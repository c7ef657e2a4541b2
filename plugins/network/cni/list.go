package cni

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"

	"github.com/containernetworking/cni/libcni"

	"github.com/gantryio/gantry/interfaces/network"
	"github.com/gantryio/gantry/interfaces/plugin"
)

type table = map[string]any

// sharedName is the name of lists that take addresses of the node's pod ranges.
const sharedName = "gantry"

// anySandbox stands for one where only the list matters.
func anySandbox() network.Sandbox {
	return network.Sandbox{PodCIDRs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24")}}
}

// list returns the network list for a sandbox.
func (n *Network) list(s network.Sandbox) (*libcni.NetworkConfigList, error) {
	raw, err := n.source()
	if err != nil {
		return nil, fmt.Errorf("read network list: %w: %w", err, plugin.ErrInvalid)
	}
	list := n.bridgeList(s)
	if !n.config.builtin() {
		list = table{}
		d := json.NewDecoder(bytes.NewReader(raw))
		d.UseNumber()
		if err := d.Decode(&list); err != nil {
			return nil, fmt.Errorf("read network list: %w: %w", err, plugin.ErrInvalid)
		}
	}
	if err := n.fill(list, s); err != nil {
		return nil, fmt.Errorf("make network list for %s: %w", s.ID, err)
	}
	if raw, err = json.Marshal(list); err != nil {
		return nil, fmt.Errorf("make network list for %s: %w", s.ID, err)
	}
	out, err := libcni.NetworkConfFromBytes(raw)
	if err != nil {
		return nil, fmt.Errorf("make network list for %s: %w: %w", s.ID, err, plugin.ErrInvalid)
	}
	return out, nil
}

// source is the list of somebody else.
func (n *Network) source() ([]byte, error) {
	if n.config.Conflist == "" {
		return n.config.List, nil
	}
	return os.ReadFile(n.config.Conflist)
}

// bridgeList is the default: one bridge, addresses from the node's ranges, no masquerading.
func (n *Network) bridgeList(s network.Sandbox) table {
	bridge := table{
		"type": "bridge", "bridge": n.config.Bridge, "isGateway": true, "ipMasq": false, "hairpinMode": true,
		"ipam": table{"type": "host-local"},
	}
	if n.config.MTU != 0 {
		bridge["mtu"] = n.config.MTU
	}
	capabilities := table{}
	if len(s.IPs) > 0 {
		capabilities["ips"] = true
	}
	if s.MAC != "" {
		capabilities["mac"] = true
	}
	if len(capabilities) > 0 {
		bridge["capabilities"] = capabilities
	}
	plugins := []any{bridge}
	if s.IngressBits > 0 || s.EgressBits > 0 {
		plugins = append(plugins, table{"type": "bandwidth", "capabilities": table{"bandwidth": true}})
	}
	return table{"cniVersion": "1.0.0", "name": sharedName, "plugins": plugins}
}

// fill gives host-local the ranges that the list leaves out, and a folder for its addresses.
func (n *Network) fill(list table, s network.Sandbox) error {
	plugins, _ := list["plugins"].([]any)
	for _, p := range plugins {
		conf, _ := p.(table)
		ipam, _ := conf["ipam"].(table)
		if ipam == nil || ipam["type"] != "host-local" {
			continue
		}
		if ipam["ranges"] == nil && ipam["subnet"] == nil {
			if err := n.fillRanges(list, ipam, s); err != nil {
				return err
			}
		}
		if ipam["dataDir"] == nil {
			ipam["dataDir"] = n.path("addresses")
		}
	}
	return nil
}

func (n *Network) fillRanges(list, ipam table, s network.Sandbox) error {
	first := s.Interface == "" || s.Interface == network.DefaultInterface
	prefixes := []netip.Prefix{n.config.Subnet}
	if !n.config.Subnet.IsValid() {
		switch prefixes = s.PodCIDRs; {
		case !first:
			return fmt.Errorf("interface %s needs a network with a subnet of its own, and this one shares the pods': %w", s.Interface, plugin.ErrInvalid)
		case len(prefixes) == 0:
			return fmt.Errorf("the node has no pod range: %w", plugin.ErrInvalid)
		}
		// GC knows one instance's sandboxes; others have addresses in the same folder.
		list["name"], list["disableGC"], ipam["dataDir"] = sharedName, true, n.config.Addresses
	}
	var ranges [][]table
	var routes []table
	for _, p := range prefixes {
		ranges = append(ranges, []table{{"subnet": p.Masked().String()}})
		all := "0.0.0.0/0"
		if p.Addr().Is6() {
			all = "::/0"
		}
		routes = append(routes, table{"dst": all})
	}
	ipam["ranges"] = ranges
	if ipam["routes"] == nil && first {
		ipam["routes"] = routes
	}
	return nil
}

// runtimeConf is what CNI plugins are told of a sandbox, by the conventions of CNI's CONVENTIONS.md.
func runtimeConf(s network.Sandbox) *libcni.RuntimeConf {
	c := &libcni.RuntimeConf{
		ContainerID: s.ID, NetNS: s.NetNS, IfName: cmp.Or(s.Interface, network.DefaultInterface),
		Args: [][2]string{
			{"IgnoreUnknown", "1"},
			{"K8S_POD_NAMESPACE", s.PodNamespace},
			{"K8S_POD_NAME", s.PodName},
			{"K8S_POD_INFRA_CONTAINER_ID", s.ID},
			{"K8S_POD_UID", s.PodUID},
		},
		CapabilityArgs: table{},
	}
	var ports []table
	for _, p := range s.HostPorts {
		port := table{"hostPort": int(p.HostPort), "containerPort": int(p.ContainerPort), "protocol": p.Protocol}
		if p.HostIP.IsValid() {
			port["hostIP"] = p.HostIP.String()
		}
		ports = append(ports, port)
	}
	if ports != nil {
		c.CapabilityArgs["portMappings"] = ports
	}
	if len(s.IPs) > 0 {
		c.CapabilityArgs["ips"] = s.IPs
	}
	if s.MAC != "" {
		c.CapabilityArgs["mac"] = s.MAC
	}
	if s.IngressBits > 0 || s.EgressBits > 0 {
		// A burst of a tenth of a second is enough for any packet and keeps short peaks short.
		c.CapabilityArgs["bandwidth"] = table{
			"ingressRate": s.IngressBits, "ingressBurst": s.IngressBits/10 + 1,
			"egressRate": s.EgressBits, "egressBurst": s.EgressBits/10 + 1,
		}
	}
	return c
}
