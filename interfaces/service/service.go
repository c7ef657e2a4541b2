// Package service is the contract of service plugins: they make the machine route Services. A plugin is
// given the whole wanted state each time, so that it can be replaced or restarted at any moment.
package service

import (
	"context"
	"net/netip"
	"time"
)

// Proxy routes services. When another plugin has taken over, a proxy that is a plugin.Stopper is told Stop: it takes its
// rules away and leaves connections and flows alone, which the other one routes. It serves on, and routes again when
// it is given a Sync. A proxy that is none is given an empty snapshot instead.
type Proxy interface {
	// Sync makes the machine route exactly the services of the snapshot. It is idempotent, repairs what
	// somebody else changed, and is all or nothing: after an error the earlier state still routes.
	Sync(ctx context.Context, snapshot Snapshot) error
}

// Affine is an optional power of a proxy that keeps clients at endpoints.
type Affine interface {
	// Affinities are the clients that are kept at an endpoint now.
	Affinities(ctx context.Context) ([]Affinity, error)
}

// Affinity is a client that comes to one endpoint of a service's port.
type Affinity struct {
	Namespace, Name string
	// Port and Protocol are those of a Port of the service.
	Port, Protocol string
	Client         netip.Addr
	Endpoint       netip.AddrPort
	// Left is how long the client is still kept there if it makes no further connection.
	Left time.Duration
}

// Snapshot is the whole wanted state of a node.
type Snapshot struct {
	// Affinities are those of the proxy that has routed so far, when another one takes over. A proxy that knows none of its own for
	// an endpoint goes on with them; those of endpoints that are not in the snapshot mean nothing.
	Affinities []Affinity
	Services   []Service
	// NodeAddresses are the addresses on which node ports are served; empty means all local ones.
	NodeAddresses []netip.Addr
	// PodCIDRs are the pod ranges of the cluster; traffic from elsewhere to a service is masqueraded
	// when it would otherwise not find back.
	PodCIDRs []netip.Prefix
}

// Service is one Service object, or a pod's host ports: these have no cluster address, and each port is a
// node port, or a port of an external address, with the pod as its only endpoint.
type Service struct {
	Namespace, Name string

	ClusterIPs  []netip.Addr
	ExternalIPs []netip.Addr
	Ports       []Port

	// AffinitySeconds keeps a client at one endpoint for so long after its last connection; 0 is off.
	AffinitySeconds uint32
	// InternalLocal and ExternalLocal are the traffic policies "Local".
	InternalLocal bool
	ExternalLocal bool
}

// Port is one port of a service with the endpoints that serve it now. Without endpoints, connections
// are refused.
type Port struct {
	Name      string
	Protocol  string // TCP, UDP or SCTP
	Port      uint16
	NodePort  uint16 // 0: none
	Endpoints []Endpoint
}

// Endpoint is one backend.
type Endpoint struct {
	Address netip.Addr
	Port    uint16
	// Local says that it is on this node.
	Local bool
}
