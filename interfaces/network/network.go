// Package network is the contract of network plugins: they give a pod's network namespace its interfaces
// and take everything away again. The host decides which plugin a pod belongs to and remembers it.
package network

import (
	"context"
	"net/netip"
)

// Network gives pods their interfaces. Calls for different sandboxes may run at the same time.
type Network interface {
	// Attach is idempotent: a second call for the same sandbox returns the same addresses.
	// An Attach that failed may have left something; Detach removes it.
	Attach(ctx context.Context, sandbox Sandbox) (Attachment, error)
	// Detach of an unknown sandbox is no error. After it nothing of the sandbox is left. It works when
	// the network namespace is gone and when only the ID is given.
	Detach(ctx context.Context, sandbox Sandbox) error
	// Check returns plugin.ErrNotFound when the sandbox is not attached as Attach left it.
	Check(ctx context.Context, sandbox Sandbox) error
	// Status returns nil when Attach can be expected to work.
	Status(ctx context.Context) error
	// List returns the IDs of all sandboxes of which something may be left on the machine.
	List(ctx context.Context) ([]string, error)
}

// DefaultInterface is the interface of a pod that has its addresses.
const DefaultInterface = "eth0"

// Sandbox is all that a plugin learns of a pod. A pod with several interfaces is a sandbox for each of them, with
// an ID of its own.
type Sandbox struct {
	ID    string
	NetNS string
	// Interface is the name of the interface in the pod; DefaultInterface when empty. Only the default one gets
	// default routes.
	Interface string

	PodNamespace string
	PodName      string
	PodUID       string

	// PodCIDRs are the ranges of this node, at most one a family. Empty means that the plugin chooses.
	PodCIDRs  []netip.Prefix
	HostPorts []HostPort

	// IPs and MAC are the addresses that the pod asks for; empty is the plugin's choice. A plugin that cannot give
	// them may say so, or give others.
	IPs []netip.Addr
	MAC string

	// IngressBits and EgressBits limit the rate in bits a second; 0 is unlimited.
	IngressBits int64
	EgressBits  int64
}

// HostPort asks that a port of the node leads to the pod.
type HostPort struct {
	HostIP        netip.Addr // invalid: all addresses
	HostPort      uint16
	ContainerPort uint16
	Protocol      string // TCP, UDP or SCTP
}

// Attachment is what a pod got.
type Attachment struct {
	Interfaces  []Interface
	Addresses   []Address
	Routes      []Route
	Nameservers []netip.Addr
}

// Interface is a network interface, in the pod when NetNS is set, else on the node.
type Interface struct {
	Name  string
	MAC   string
	NetNS string
}

// Address is an address with the length of its network.
type Address struct {
	Prefix  netip.Prefix
	Gateway netip.Addr
	// Interface is an index into Attachment.Interfaces, -1 for none.
	Interface int
}

// Route is a route inside the pod.
type Route struct {
	Destination netip.Prefix
	Gateway     netip.Addr
}
