package cni

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"

	"github.com/containernetworking/cni/libcni"
	"github.com/vishvananda/netlink"

	"github.com/gantryio/gantry/interfaces/network"
	"github.com/gantryio/gantry/interfaces/plugin"
)

type table = map[string]any

// interfaceName is the pod's interface, as users of Kubernetes know it.
const interfaceName = "eth0"

// list returns the network list for a sandbox.
func (n *Network) list(s network.Sandbox) (*libcni.NetworkConfigList, error) {
	if n.config.Conflist != "" {
		list, err := libcni.ConfListFromFile(n.config.Conflist)
		if err != nil {
			return nil, fmt.Errorf("read network list: %w: %w", err, plugin.ErrInvalid)
		}
		return list, nil
	}
	raw, err := n.bridgeList(s)
	if err != nil {
		return nil, err
	}
	list, err := libcni.NetworkConfFromBytes(raw)
	if err != nil {
		return nil, fmt.Errorf("make network list: %w", err)
	}
	return list, nil
}

// bridgeList is the default: one bridge, addresses from the node's ranges, no masquerading.
func (n *Network) bridgeList(s network.Sandbox) ([]byte, error) {
	if len(s.PodCIDRs) == 0 {
		return nil, fmt.Errorf("make network list for %s: the node has no pod range: %w", s.ID, plugin.ErrInvalid)
	}
	var ranges [][]table
	var routes []table
	for _, p := range s.PodCIDRs {
		ranges = append(ranges, []table{{"subnet": p.Masked().String()}})
		all := "0.0.0.0/0"
		if p.Addr().Is6() {
			all = "::/0"
		}
		routes = append(routes, table{"dst": all})
	}
	bridge := table{
		"type": "bridge", "bridge": n.config.Bridge, "isGateway": true, "ipMasq": false, "hairpinMode": true,
		"ipam": table{"type": "host-local", "dataDir": n.path("addresses"), "ranges": ranges, "routes": routes},
	}
	if n.config.MTU != 0 {
		bridge["mtu"] = n.config.MTU
	}
	plugins := []table{bridge}
	if s.IngressBits > 0 || s.EgressBits > 0 {
		plugins = append(plugins, table{"type": "bandwidth", "capabilities": table{"bandwidth": true}})
	}
	raw, err := json.Marshal(table{"cniVersion": "1.0.0", "name": "gantry", "plugins": plugins})
	if err != nil {
		return nil, fmt.Errorf("make network list for %s: %w", s.ID, err)
	}
	return raw, nil
}

// runtimeConf is what CNI plugins are told of a sandbox, by the conventions of CNI's CONVENTIONS.md.
func runtimeConf(s network.Sandbox) *libcni.RuntimeConf {
	c := &libcni.RuntimeConf{
		ContainerID: s.ID, NetNS: s.NetNS, IfName: interfaceName,
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
	if s.IngressBits > 0 || s.EgressBits > 0 {
		// A burst of a tenth of a second is enough for any packet and keeps short peaks short.
		c.CapabilityArgs["bandwidth"] = table{
			"ingressRate": s.IngressBits, "ingressBurst": s.IngressBits/10 + 1,
			"egressRate": s.EgressBits, "egressBurst": s.EgressBits/10 + 1,
		}
	}
	return c
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

// lock serialises the calls for one sandbox.
type lock struct {
	sync.Mutex
	users int
}

func (n *Network) lock(id string) (unlock func()) {
	n.mu.Lock()
	l, ok := n.locks[id]
	if !ok {
		l = &lock{}
		n.locks[id] = l
	}
	l.users++
	n.mu.Unlock()
	l.Lock()
	return func() {
		l.Unlock()
		n.mu.Lock()
		defer n.mu.Unlock()
		if l.users--; l.users == 0 {
			delete(n.locks, id)
		}
	}
}
