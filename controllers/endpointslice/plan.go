package endpointslice

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gantryio/gantry/core/client/endpointslices"
)

// maxEndpoints is how many endpoints a slice has at most; sliceManager is who this controller is.
const (
	maxEndpoints = 100
	sliceManager = "endpointslice-controller.k8s.io"
)

var serviceKind = corev1.SchemeGroupVersion.WithKind("Service")

func ours(s *discoveryv1.EndpointSlice) bool {
	return s.Labels[discoveryv1.LabelManagedBy] == sliceManager
}

// plan is how slices come to say what they should.
type plan endpointslices.Changes

// decide writes as few slices as it can: endpoints stay where they are; new ones go where something
// changes anyway, then where there is room, then into new slices.
func decide(svc *corev1.Service, have []*discoveryv1.EndpointSlice, groups []group) plan {
	var p plan
	have = slices.Clone(have)
	slices.SortFunc(have, func(a, b *discoveryv1.EndpointSlice) int { return cmp.Compare(a.Name, b.Name) })
	byGroup := map[string][]*discoveryv1.EndpointSlice{}
	for _, s := range have {
		k := key(s.AddressType, s.Ports)
		byGroup[k] = append(byGroup[k], s)
	}
	for _, g := range groups {
		k := key(g.family, g.ports)
		old := byGroup[k]
		delete(byGroup, k)
		if len(g.endpoints) == 0 && len(old) == 0 {
			old = placeholder(byGroup, g.family)
		}
		p.group(svc, g, old)
	}
	for _, k := range slices.Sorted(maps.Keys(byGroup)) {
		p.Remove = append(p.Remove, byGroup[k]...)
	}
	return p
}

// placeholder takes an existing slice to stand for a family without endpoints.
func placeholder(byGroup map[string][]*discoveryv1.EndpointSlice, family discoveryv1.AddressType) []*discoveryv1.EndpointSlice {
	for _, k := range slices.Sorted(maps.Keys(byGroup)) {
		if list := byGroup[k]; list[0].AddressType == family {
			byGroup[k] = list[1:]
			if len(list) == 1 {
				delete(byGroup, k)
			}
			return list[:1]
		}
	}
	return nil
}

// group plans one group, whose slices so far are old.
func (p *plan) group(svc *corev1.Service, g group, old []*discoveryv1.EndpointSlice) {
	wanted := map[string]*discoveryv1.Endpoint{}
	order := make([]string, 0, len(g.endpoints))
	for i := range g.endpoints {
		id := identity(&g.endpoints[i])
		wanted[id] = &g.endpoints[i]
		order = append(order, id)
	}
	news := make([]*discoveryv1.EndpointSlice, len(old))
	changed := make([]bool, len(old))
	for i, s := range old {
		news[i] = s.DeepCopy()
		news[i].Endpoints = nil
		for j := range s.Endpoints {
			e := wanted[identity(&s.Endpoints[j])]
			if e == nil {
				changed[i] = true
				continue
			}
			delete(wanted, identity(&s.Endpoints[j]))
			news[i].Endpoints = append(news[i].Endpoints, *e)
			changed[i] = changed[i] || !equality.Semantic.DeepEqual(*e, s.Endpoints[j])
		}
		changed[i] = dress(svc, g, news[i]) || changed[i]
	}
	var rest []discoveryv1.Endpoint
	for _, id := range order {
		if e := wanted[id]; e != nil {
			rest = append(rest, *e)
			delete(wanted, id)
		}
	}
	rest = fill(news, changed, rest, true)
	if len(rest) > 0 {
		rest = fill(news, changed, rest, false)
	}
	for chunk := range slices.Chunk(rest, maxEndpoints) {
		p.Create = append(p.Create, newSlice(svc, g, chunk))
	}
	kept := 0
	for i, s := range news {
		switch {
		case len(s.Endpoints) == 0 && (kept > 0 || len(g.endpoints) > 0):
			p.Remove = append(p.Remove, old[i])
		case changed[i]:
			p.Update = append(p.Update, s)
			kept++
		default:
			kept++
		}
	}
	if kept == 0 && len(p.Create) == 0 && len(g.endpoints) == 0 {
		p.Create = append(p.Create, newSlice(svc, g, nil))
	}
	p.stamp(g)
}

// fill puts endpoints into slices with room, either those that change anyway or all.
func fill(into []*discoveryv1.EndpointSlice, changed []bool, rest []discoveryv1.Endpoint, onlyChanged bool) []discoveryv1.Endpoint {
	for i, s := range into {
		n := min(len(rest), maxEndpoints-len(s.Endpoints))
		if n <= 0 || onlyChanged && !changed[i] {
			continue
		}
		s.Endpoints = append(s.Endpoints, rest[:n]...)
		rest, changed[i] = rest[n:], true
	}
	return rest
}

// identity is what makes two endpoints versions of one.
func identity(e *discoveryv1.Endpoint) string {
	id := strings.Join(e.Addresses, ",")
	if e.TargetRef != nil {
		id += " " + string(e.TargetRef.UID)
	}
	return id
}

// dress sets what the Service says of its slices, and tells whether that changed anything.
func dress(svc *corev1.Service, g group, s *discoveryv1.EndpointSlice) bool {
	labels := sliceLabels(svc)
	if maps.Equal(labels, s.Labels) && equality.Semantic.DeepEqual(s.Ports, g.ports) && metav1.IsControlledBy(s, svc) {
		return false
	}
	s.Labels, s.Ports = labels, g.ports
	s.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(svc, serviceKind)}
	return true
}

// sliceLabels are the Service's own, without those that only slices or Endpoints have.
func sliceLabels(svc *corev1.Service) map[string]string {
	out := map[string]string{}
	for k, v := range svc.Labels {
		if k != managedBy {
			out[k] = v
		}
	}
	if svc.Spec.ClusterIP == corev1.ClusterIPNone {
		out[corev1.IsHeadlessService] = ""
	} else {
		delete(out, corev1.IsHeadlessService)
	}
	out[discoveryv1.LabelServiceName] = svc.Name
	out[discoveryv1.LabelManagedBy] = sliceManager
	return out
}

func newSlice(svc *corev1.Service, g group, endpoints []discoveryv1.Endpoint) *discoveryv1.EndpointSlice {
	return &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: svc.Namespace, GenerateName: svc.Name + "-", Labels: sliceLabels(svc),
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(svc, serviceKind)},
		},
		AddressType: g.family, Ports: g.ports, Endpoints: slices.Clone(endpoints),
	}
}

// stamp notes in written slices when the last change of a pod was that caused it.
func (p *plan) stamp(g group) {
	last := time.Time{}
	for _, pod := range g.pods {
		for _, c := range pod.Status.Conditions {
			if c.Type == corev1.PodReady && c.LastTransitionTime.After(last) {
				last = c.LastTransitionTime.Time
			}
		}
	}
	if last.IsZero() {
		return
	}
	for _, s := range slices.Concat(p.Create, p.Update) {
		if key(s.AddressType, s.Ports) == key(g.family, g.ports) {
			metav1.SetMetaDataAnnotation(&s.ObjectMeta, corev1.EndpointsLastChangeTriggerTime, last.UTC().Format(time.RFC3339Nano))
		}
	}
}
