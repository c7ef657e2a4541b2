package v1alpha1

import (
	"fmt"
	"net"
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

const (
	// NetworkAnnotation of a pod names the network plugin that it belongs to; that of a namespace holds for pods
	// without one.
	NetworkAnnotation = "plugins.gantry.dev/network"
	// NetworksAnnotation of a pod lists, with commas, network plugins that give it further interfaces: net1, net2
	// and so on.
	NetworksAnnotation = "plugins.gantry.dev/networks"
	// IPsAnnotation of a pod lists, with commas, the addresses that it asks its network for; MACAnnotation is the
	// hardware address of its first interface. They are CNI's capabilities "ips" and "mac".
	IPsAnnotation = "plugins.gantry.dev/ips"
	MACAnnotation = "plugins.gantry.dev/mac"
)

// NetworkOf is the network that a pod asks for, and who asks: the pod or its namespace. It is "" when the node's
// default is to be taken. The namespace may be nil.
func NetworkOf(p *corev1.Pod, n *corev1.Namespace) (name, asker string) {
	if name = p.Annotations[NetworkAnnotation]; name != "" {
		return name, "pod"
	}
	if n != nil && n.Annotations[NetworkAnnotation] != "" {
		return n.Annotations[NetworkAnnotation], "namespace"
	}
	return "", ""
}

// ExtraNetworks are the plugins of a pod's further interfaces.
func ExtraNetworks(p *corev1.Pod) []string {
	return words(p.Annotations[NetworksAnnotation])
}

// IPsOf are the addresses that a pod asks for.
func IPsOf(p *corev1.Pod) ([]netip.Addr, error) {
	var out []netip.Addr
	for _, text := range words(p.Annotations[IPsAnnotation]) {
		ip, err := netip.ParseAddr(text)
		if err != nil {
			return nil, fmt.Errorf("read annotation %s: %w", IPsAnnotation, err)
		}
		out = append(out, ip)
	}
	return out, nil
}

// MACOf is the hardware address that a pod asks for, or "".
func MACOf(p *corev1.Pod) (string, error) {
	text := p.Annotations[MACAnnotation]
	if text == "" {
		return "", nil
	}
	mac, err := net.ParseMAC(text)
	if err != nil || len(mac) != 6 {
		return "", fmt.Errorf("read annotation %s: %q is no address of 6 bytes", MACAnnotation, text)
	}
	return mac.String(), nil
}

func words(list string) []string {
	var out []string
	for w := range strings.SplitSeq(list, ",") {
		if w = strings.TrimSpace(w); w != "" {
			out = append(out, w)
		}
	}
	return out
}
