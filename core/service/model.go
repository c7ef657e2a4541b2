// Package service turns Services and EndpointSlices into what a service plugin routes: a pure function of
// both, and a small loop that calls the plugin when its result changes.
package service

import (
	"cmp"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/gantryio/gantry/interfaces/service"
)

// Services with this label are routed by somebody else (the well-known label of kube-proxy).
const otherProxy = "service.kubernetes.io/service-proxy-name"

// defaultAffinity is how long ClientIP affinity lasts where the object does not say.
const defaultAffinity = 10800

// model returns the services that a node routes, in a fixed order, with the endpoints that serve now.
func model(all []corev1.Service, endpointSlices []discoveryv1.EndpointSlice, node string) []service.Service {
	byService := map[[2]string][]*discoveryv1.EndpointSlice{}
	for i := range endpointSlices {
		s := &endpointSlices[i]
		if name := s.Labels[discoveryv1.LabelServiceName]; name != "" && s.AddressType != discoveryv1.AddressTypeFQDN {
			key := [2]string{s.Namespace, name}
			byService[key] = append(byService[key], s)
		}
	}
	var out []service.Service
	for i := range all {
		if s, ok := routed(&all[i], byService[[2]string{all[i].Namespace, all[i].Name}], node); ok {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b service.Service) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return out
}

// routed returns one service; false for those that have no address of their own.
func routed(s *corev1.Service, of []*discoveryv1.EndpointSlice, node string) (service.Service, bool) {
	if _, other := s.Labels[otherProxy]; other || s.Spec.Type == corev1.ServiceTypeExternalName {
		return service.Service{}, false
	}
	ips := s.Spec.ClusterIPs
	if len(ips) == 0 {
		ips = []string{s.Spec.ClusterIP}
	}
	out := service.Service{
		Namespace: s.Namespace, Name: s.Name, ClusterIPs: addresses(ips), ExternalIPs: addresses(external(s)),
		InternalLocal: s.Spec.InternalTrafficPolicy != nil && *s.Spec.InternalTrafficPolicy == corev1.ServiceInternalTrafficPolicyLocal,
		ExternalLocal: s.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal,
	}
	if len(out.ClusterIPs) == 0 {
		return service.Service{}, false
	}
	if s.Spec.SessionAffinity == corev1.ServiceAffinityClientIP {
		out.AffinitySeconds = defaultAffinity
		if c := s.Spec.SessionAffinityConfig; c != nil && c.ClientIP != nil && c.ClientIP.TimeoutSeconds != nil {
			out.AffinitySeconds = uint32(*c.ClientIP.TimeoutSeconds)
		}
	}
	for _, p := range s.Spec.Ports {
		protocol := cmp.Or(p.Protocol, corev1.ProtocolTCP)
		out.Ports = append(out.Ports, service.Port{
			Name: p.Name, Protocol: string(protocol), Port: uint16(p.Port), NodePort: uint16(p.NodePort),
			Endpoints: endpoints(of, p.Name, protocol, node, out.InternalLocal || out.ExternalLocal),
		})
	}
	return out, true
}

// external are the addresses outside the cluster that lead here.
func external(s *corev1.Service) []string {
	out := slices.Clone(s.Spec.ExternalIPs)
	for _, i := range s.Status.LoadBalancer.Ingress {
		if i.IPMode == nil || *i.IPMode == corev1.LoadBalancerIPModeVIP {
			out = append(out, i.IP)
		}
	}
	return out
}

func addresses(in []string) []netip.Addr {
	var out []netip.Addr
	for _, text := range in {
		if a, err := netip.ParseAddr(text); err == nil && !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	return out
}

// endpoints are those that are ready; where none is, those that end but still serve (KEP-1669). With a
// local traffic policy that holds for the node's own endpoints by themselves.
func endpoints(of []*discoveryv1.EndpointSlice, port string, protocol corev1.Protocol, node string, localPolicy bool) []service.Endpoint {
	var ready, ending []service.Endpoint
	for _, s := range of {
		for _, p := range s.Ports {
			if p.Port == nil || value(p.Name, "") != port || value(p.Protocol, corev1.ProtocolTCP) != protocol {
				continue
			}
			for i := range s.Endpoints {
				e := &s.Endpoints[i]
				isReady, isEnding := conditions(e)
				for _, a := range addresses(e.Addresses) {
					at := service.Endpoint{Address: a, Port: uint16(*p.Port), Local: e.NodeName != nil && *e.NodeName == node}
					switch {
					case isReady:
						ready = append(ready, at)
					case isEnding:
						ending = append(ending, at)
					}
				}
			}
		}
	}
	switch {
	case len(ready) == 0:
		ready = ending
	case localPolicy && !slices.ContainsFunc(ready, isLocal):
		ready = append(ready, slices.DeleteFunc(ending, func(e service.Endpoint) bool { return !e.Local })...)
	}
	slices.SortFunc(ready, func(a, b service.Endpoint) int {
		return cmp.Or(a.Address.Compare(b.Address), cmp.Compare(a.Port, b.Port))
	})
	return slices.CompactFunc(ready, func(a, b service.Endpoint) bool { return a.Address == b.Address && a.Port == b.Port })
}

func isLocal(e service.Endpoint) bool { return e.Local }

// conditions reads the conditions, of which nil means the good value (EndpointConditions in discovery/v1).
func conditions(e *discoveryv1.Endpoint) (ready, ending bool) {
	ready = value(e.Conditions.Ready, true)
	return ready, value(e.Conditions.Serving, ready) && value(e.Conditions.Terminating, false)
}

func value[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}
