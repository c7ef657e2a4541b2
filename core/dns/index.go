package dns

import (
	"net/netip"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

// Index is what the names of the zone lead to. It is kept by events and read by every question; its methods may be called
// at any time from anywhere. Objects that are given to it are not changed and not kept.
type Index struct {
	// zone is the cluster's domain in lower case with a dot at its end; tail is what names in it end with.
	zone, tail string
	// servers are this server's own addresses, which ns.dns.ZONE leads to.
	servers []netip.Addr
	now     func() time.Time

	mu         sync.RWMutex
	serial     uint32
	namespaces map[string]struct{}
	services   map[string]*service // by NAME.NAMESPACE
	clusterIPs map[netip.Addr]*service
	endpoints  map[netip.Addr][]*slice
	slices     map[string]*slice // by NAMESPACE/NAME
	nodes      map[string][]netip.Addr
	nodeIPs    map[netip.Addr]int
}

// service is a Service and the slices of it, of which either may be missing.
type service struct {
	domain string // NAME.NAMESPACE.svc.ZONE.
	kind   kind
	ips    []netip.Addr
	ports  []port
	target string // of an external name, with a dot at its end
	slices []*slice
}

type kind int

const (
	absent kind = iota // there are only slices
	clusterIP
	headless
	external
)

type port struct {
	name, protocol string
	number         uint16
}

// slice is the ready part of an EndpointSlice.
type slice struct {
	service   *service
	endpoints []endpoint
	ports     []port
}

type endpoint struct {
	ip   netip.Addr
	host string
}

// NewIndex makes an empty index of a cluster's domain, which is given without a dot at its end. servers are the addresses of
// this server.
func NewIndex(domain string, now func() time.Time, servers ...netip.Addr) *Index {
	zone := strings.ToLower(domain) + "."
	return &Index{
		zone: zone, tail: "." + zone, servers: servers, now: now, serial: uint32(now().Unix()),
		namespaces: map[string]struct{}{}, services: map[string]*service{}, clusterIPs: map[netip.Addr]*service{},
		endpoints: map[netip.Addr][]*slice{}, slices: map[string]*slice{}, nodes: map[string][]netip.Addr{}, nodeIPs: map[netip.Addr]int{},
	}
}

// change locks the index for a change of the zone.
func (x *Index) change() (unlock func()) {
	x.mu.Lock()
	x.serial = uint32(x.now().Unix())
	return x.mu.Unlock
}

// PutNamespace takes a namespace up.
func (x *Index) PutNamespace(name string) {
	defer x.change()()
	x.namespaces[name] = struct{}{}
}

// RemoveNamespace forgets a namespace. What is in it goes by events of its own.
func (x *Index) RemoveNamespace(name string) {
	defer x.change()()
	delete(x.namespaces, name)
}

// at finds or makes the entry of a service.
func (x *Index) at(namespace, name string) *service {
	key := name + "." + namespace
	s := x.services[key]
	if s == nil {
		s = &service{domain: key + ".svc" + x.tail}
		x.services[key] = s
	}
	return s
}

// PutService takes a Service up as it is now.
func (x *Index) PutService(svc *corev1.Service) {
	defer x.change()()
	s := x.at(svc.Namespace, svc.Name)
	x.clear(s)
	switch {
	case svc.Spec.Type == corev1.ServiceTypeExternalName:
		// An address is no name to lead to.
		if _, err := netip.ParseAddr(svc.Spec.ExternalName); err != nil && svc.Spec.ExternalName != "" {
			s.target = strings.TrimSuffix(svc.Spec.ExternalName, ".") + "."
		}
		s.kind = external
	case svc.Spec.ClusterIP == corev1.ClusterIPNone || svc.Spec.ClusterIP == "":
		s.kind = headless
	default:
		s.kind = clusterIP
		all := svc.Spec.ClusterIPs
		if len(all) == 0 {
			all = []string{svc.Spec.ClusterIP}
		}
		for _, text := range all {
			if ip, err := netip.ParseAddr(text); err == nil {
				s.ips = append(s.ips, ip)
				x.clusterIPs[ip] = s
			}
		}
		for _, p := range svc.Spec.Ports {
			s.ports = append(s.ports, port{p.Name, protocol(p.Protocol), uint16(p.Port)})
		}
	}
}

func protocol(p corev1.Protocol) string {
	if p == "" {
		return "tcp"
	}
	return strings.ToLower(string(p))
}

// clear takes away what an entry has of its Service.
func (x *Index) clear(s *service) {
	for _, ip := range s.ips {
		if x.clusterIPs[ip] == s {
			delete(x.clusterIPs, ip)
		}
	}
	*s = service{domain: s.domain, slices: s.slices}
}

// RemoveService forgets a Service. Its slices stay until they are removed.
func (x *Index) RemoveService(namespace, name string) {
	defer x.change()()
	if s := x.services[name+"."+namespace]; s != nil {
		x.clear(s)
		x.drop(s)
	}
}

// drop forgets an entry that has nothing.
func (x *Index) drop(s *service) {
	if s.kind == absent && len(s.slices) == 0 {
		delete(x.services, strings.TrimSuffix(s.domain, ".svc"+x.tail))
	}
}

// PutSlice takes an EndpointSlice up as it is now.
func (x *Index) PutSlice(e *discoveryv1.EndpointSlice) {
	defer x.change()()
	x.removeSlice(e.Namespace, e.Name)
	name := e.Labels[discoveryv1.LabelServiceName]
	if name == "" {
		return
	}
	fresh := &slice{}
	for i := range e.Endpoints {
		fresh.endpoints = appendReady(fresh.endpoints, &e.Endpoints[i])
	}
	if len(fresh.endpoints) == 0 {
		return
	}
	for _, p := range e.Ports {
		one := port{protocol: "tcp"}
		if p.Name != nil {
			one.name = *p.Name
		}
		if p.Protocol != nil {
			one.protocol = protocol(*p.Protocol)
		}
		if p.Port != nil {
			one.number = uint16(*p.Port)
		}
		fresh.ports = append(fresh.ports, one)
	}
	fresh.service = x.at(e.Namespace, name)
	fresh.service.slices = append(fresh.service.slices, fresh)
	x.slices[e.Namespace+"/"+e.Name] = fresh
	for _, one := range fresh.endpoints {
		if have := x.endpoints[one.ip]; len(have) == 0 || have[len(have)-1] != fresh {
			x.endpoints[one.ip] = append(have, fresh)
		}
	}
}

// appendReady adds the addresses of an endpoint that is ready. One whose readiness is not told is ready (discovery/v1), and
// the slices of a service that publishes not ready addresses say that all are.
func appendReady(to []endpoint, e *discoveryv1.Endpoint) []endpoint {
	if e.Conditions.Ready != nil && !*e.Conditions.Ready {
		return to
	}
	for _, text := range e.Addresses {
		ip, err := netip.ParseAddr(text)
		if err != nil {
			continue // a slice of names
		}
		host := hostOf(ip)
		if e.Hostname != nil && *e.Hostname != "" {
			host = strings.ToLower(*e.Hostname)
		}
		to = append(to, endpoint{ip: ip, host: host})
	}
	return to
}

// hostOf is the label of an endpoint without a hostname.
func hostOf(ip netip.Addr) string {
	if ip.Is4() {
		return strings.ReplaceAll(ip.String(), ".", "-")
	}
	return strings.ReplaceAll(ip.String(), ":", "-")
}

// RemoveSlice forgets an EndpointSlice.
func (x *Index) RemoveSlice(namespace, name string) {
	defer x.change()()
	x.removeSlice(namespace, name)
}

func (x *Index) removeSlice(namespace, name string) {
	key := namespace + "/" + name
	old := x.slices[key]
	if old == nil {
		return
	}
	delete(x.slices, key)
	old.service.slices = without(old.service.slices, old)
	x.drop(old.service)
	for _, one := range old.endpoints {
		if left := without(x.endpoints[one.ip], old); len(left) > 0 {
			x.endpoints[one.ip] = left
		} else {
			delete(x.endpoints, one.ip)
		}
	}
}

// without returns a list without one of its elements.
func without(all []*slice, one *slice) []*slice {
	var out []*slice
	for _, s := range all {
		if s != one {
			out = append(out, s)
		}
	}
	return out
}

// PutNode takes up from where a node's own questions may come.
func (x *Index) PutNode(n *corev1.Node) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.forgetNode(n.Name)
	for _, a := range n.Status.Addresses {
		if ip, err := netip.ParseAddr(a.Address); err == nil {
			x.nodes[n.Name] = append(x.nodes[n.Name], ip)
			x.nodeIPs[ip]++
		}
	}
}

// RemoveNode forgets a node.
func (x *Index) RemoveNode(name string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.forgetNode(name)
}

func (x *Index) forgetNode(name string) {
	for _, ip := range x.nodes[name] {
		if x.nodeIPs[ip]--; x.nodeIPs[ip] == 0 {
			delete(x.nodeIPs, ip)
		}
	}
	delete(x.nodes, name)
}

func (x *Index) isNode(ip netip.Addr) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.nodeIPs[ip] > 0
}

// isClusterIP tells that a service has the address.
func (x *Index) isClusterIP(ip netip.Addr) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.clusterIPs[ip] != nil
}
