//lint:file-ignore SA1019 Endpoints are what this controller is about

package endpointslicemirroring

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gantryio/gantry/core/client/endpointslices"
)

const (
	manages = "endpointslicemirroring-controller.k8s.io"
	// maxAddresses is how many addresses of a subset are mirrored, as in Kubernetes.
	maxAddresses = 1000
	// elected is the annotation of Endpoints that are no addresses but the lock of an old leader election.
	elected = "control-plane.alpha.kubernetes.io/leader"
)

var endpointsKind = corev1.SchemeGroupVersion.WithKind("Endpoints")

func ours(s *discoveryv1.EndpointSlice) bool { return s.Labels[discoveryv1.LabelManagedBy] == manages }

// mirrored tells whether Endpoints, nil for none, are to be shown as slices of a Service, nil for none: they are when the user
// writes them, which is so for Services without a selector.
func mirrored(ep *corev1.Endpoints, svc *corev1.Service) bool {
	if ep == nil || svc == nil || ep.DeletionTimestamp != nil || svc.DeletionTimestamp != nil || svc.Spec.Selector != nil {
		return false
	}
	_, lock := ep.Annotations[elected]
	return !lock && ep.Labels[discoveryv1.LabelSkipMirror] != "true"
}

// mirror is what the slices are to be: one for each set of ports and family of addresses.
func mirror(ep *corev1.Endpoints) []*discoveryv1.EndpointSlice {
	byKey := map[string]*discoveryv1.EndpointSlice{}
	for i := range ep.Subsets {
		subset, room := &ep.Subsets[i], maxAddresses
		ports := portsOf(subset.Ports)
		for _, list := range []struct {
			addresses []corev1.EndpointAddress
			ready     bool
		}{{subset.Addresses, true}, {subset.NotReadyAddresses, false}} {
			for _, a := range list.addresses {
				family, ok := familyOf(a.IP)
				if !ok || room == 0 {
					continue
				}
				room--
				k := key(family, ports)
				if byKey[k] == nil {
					byKey[k] = newSlice(ep, family, ports)
				}
				byKey[k].Endpoints = append(byKey[k].Endpoints, endpointOf(a, list.ready))
			}
		}
	}
	out := slices.Collect(maps.Values(byKey))
	for _, s := range out {
		slices.SortStableFunc(s.Endpoints, func(a, b discoveryv1.Endpoint) int { return cmp.Compare(a.Addresses[0], b.Addresses[0]) })
	}
	slices.SortFunc(out, func(a, b *discoveryv1.EndpointSlice) int { return cmp.Compare(keyOf(a), keyOf(b)) })
	return out
}

func familyOf(ip string) (discoveryv1.AddressType, bool) {
	addr, err := netip.ParseAddr(ip)
	switch {
	case err != nil:
		return "", false
	case addr.Is4():
		return discoveryv1.AddressTypeIPv4, true
	}
	return discoveryv1.AddressTypeIPv6, true
}

func portsOf(ports []corev1.EndpointPort) []discoveryv1.EndpointPort {
	out := make([]discoveryv1.EndpointPort, len(ports))
	for i, p := range ports {
		out[i] = discoveryv1.EndpointPort{Name: &p.Name, Port: &p.Port, Protocol: &p.Protocol, AppProtocol: p.AppProtocol}
	}
	return out
}

func endpointOf(a corev1.EndpointAddress, ready bool) discoveryv1.Endpoint {
	out := discoveryv1.Endpoint{
		Addresses: []string{a.IP}, Conditions: discoveryv1.EndpointConditions{Ready: &ready}, NodeName: a.NodeName, TargetRef: a.TargetRef,
	}
	if a.Hostname != "" {
		out.Hostname = &a.Hostname
	}
	return out
}

func newSlice(ep *corev1.Endpoints, family discoveryv1.AddressType, ports []discoveryv1.EndpointPort) *discoveryv1.EndpointSlice {
	out := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: ep.Namespace, GenerateName: ep.Name + "-", Labels: maps.Clone(ep.Labels), Annotations: maps.Clone(ep.Annotations),
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(ep, endpointsKind)},
		},
		AddressType: family, Ports: ports,
	}
	if out.Labels == nil {
		out.Labels = map[string]string{}
	}
	out.Labels[discoveryv1.LabelServiceName], out.Labels[discoveryv1.LabelManagedBy] = ep.Name, manages
	delete(out.Annotations, corev1.LastAppliedConfigAnnotation)
	if len(out.Annotations) == 0 {
		out.Annotations = nil
	}
	return out
}

func keyOf(s *discoveryv1.EndpointSlice) string { return key(s.AddressType, s.Ports) }

func key(family discoveryv1.AddressType, ports []discoveryv1.EndpointPort) string {
	text := string(family)
	for i := range ports {
		text += " " + ports[i].String()
	}
	return text
}

// decide keeps the slices whose ports and family are still wanted.
func decide(have, want []*discoveryv1.EndpointSlice) endpointslices.Changes {
	var p endpointslices.Changes
	have = slices.Clone(have)
	slices.SortFunc(have, func(a, b *discoveryv1.EndpointSlice) int { return cmp.Compare(a.Name, b.Name) })
	byKey := map[string]*discoveryv1.EndpointSlice{}
	for _, s := range have {
		if byKey[keyOf(s)] == nil {
			byKey[keyOf(s)] = s
		} else {
			p.Remove = append(p.Remove, s)
		}
	}
	for _, w := range want {
		h := byKey[keyOf(w)]
		delete(byKey, keyOf(w))
		switch {
		case h == nil:
			p.Create = append(p.Create, w)
		case !same(h, w):
			update := h.DeepCopy()
			update.Labels, update.Annotations, update.OwnerReferences = w.Labels, w.Annotations, w.OwnerReferences
			update.Endpoints = w.Endpoints
			p.Update = append(p.Update, update)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(byKey)) {
		p.Remove = append(p.Remove, byKey[k])
	}
	return p
}

func same(a, b *discoveryv1.EndpointSlice) bool {
	return equality.Semantic.DeepEqual(a.Endpoints, b.Endpoints) && equality.Semantic.DeepEqual(a.Labels, b.Labels) &&
		equality.Semantic.DeepEqual(a.Annotations, b.Annotations) && equality.Semantic.DeepEqual(a.OwnerReferences, b.OwnerReferences)
}
