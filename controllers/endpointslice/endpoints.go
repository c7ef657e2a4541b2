//lint:file-ignore SA1019 clients that know nothing newer read Endpoints

package endpointslice

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	managedBy        = "endpoints.kubernetes.io/managed-by"
	endpointsManager = "endpoint-controller"
	// maxAddresses is how many addresses an Endpoints object has at most, ready ones first.
	maxAddresses = 1000
)

// endpointsOf shows the groups of the Service's first family as Endpoints. Unlike slices these leave out
// pods that are being deleted.
func endpointsOf(svc *corev1.Service, groups []group) *corev1.Endpoints {
	out := &corev1.Endpoints{ObjectMeta: metav1.ObjectMeta{Namespace: svc.Namespace, Name: svc.Name, Labels: maps.Clone(svc.Labels)}}
	if out.Labels == nil {
		out.Labels = map[string]string{}
	}
	out.Labels[managedBy] = endpointsManager
	delete(out.Labels, corev1.IsHeadlessService)
	if svc.Spec.ClusterIP == corev1.ClusterIPNone {
		out.Labels[corev1.IsHeadlessService] = ""
	}
	room := maxAddresses
	for _, wantReady := range []bool{true, false} {
		for _, g := range groups {
			if g.family != groups[0].family {
				continue
			}
			if left := room - add(out, svc, g, wantReady, room); left < 0 {
				out.Annotations = map[string]string{corev1.EndpointsOverCapacity: "truncated"}
				room = 0
			} else {
				room = left
			}
		}
	}
	slices.SortFunc(out.Subsets, func(a, b corev1.EndpointSubset) int { return cmp.Compare(portsText(a.Ports), portsText(b.Ports)) })
	return out
}

// add puts the group's ready or other addresses into its subset, at most room of them, and returns how
// many there are.
func add(out *corev1.Endpoints, svc *corev1.Service, g group, wantReady bool, room int) int {
	var all []corev1.EndpointAddress
	for i := range g.endpoints {
		e := &g.endpoints[i]
		if g.pods[i].DeletionTimestamp != nil && !svc.Spec.PublishNotReadyAddresses || *e.Conditions.Ready != wantReady {
			continue
		}
		a := corev1.EndpointAddress{IP: e.Addresses[0], NodeName: e.NodeName, TargetRef: e.TargetRef}
		if e.Hostname != nil {
			a.Hostname = *e.Hostname
		}
		all = append(all, a)
	}
	if len(all) == 0 {
		return 0
	}
	slices.SortFunc(all, func(a, b corev1.EndpointAddress) int { return cmp.Compare(a.IP, b.IP) })
	shown := all[:min(len(all), max(0, room))]
	ports := legacyPorts(g.ports)
	at := slices.IndexFunc(out.Subsets, func(s corev1.EndpointSubset) bool { return portsText(s.Ports) == portsText(ports) })
	if at < 0 {
		at = len(out.Subsets)
		out.Subsets = append(out.Subsets, corev1.EndpointSubset{Ports: ports})
	}
	if wantReady {
		out.Subsets[at].Addresses = shown
	} else {
		out.Subsets[at].NotReadyAddresses = shown
	}
	return len(all)
}

func legacyPorts(ports []discoveryv1.EndpointPort) []corev1.EndpointPort {
	var out []corev1.EndpointPort
	for _, p := range ports {
		out = append(out, corev1.EndpointPort{Name: *p.Name, Port: *p.Port, Protocol: *p.Protocol, AppProtocol: p.AppProtocol})
	}
	return out
}

func portsText(ports []corev1.EndpointPort) string {
	var text string
	for _, p := range ports {
		text += p.String()
	}
	return text
}

func (c *Controller) writeEndpoints(ctx context.Context, svc *corev1.Service, groups []group) error {
	want := endpointsOf(svc, groups)
	have := &corev1.Endpoints{}
	err := c.Client.Get(ctx, client.ObjectKeyFromObject(svc), have)
	if apierrors.IsNotFound(err) {
		if err := c.Client.Create(ctx, want); err != nil && !apierrors.IsAlreadyExists(err) && !apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
			return fmt.Errorf("create endpoints %s: %w", svc.Name, err)
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("get endpoints %s: %w", svc.Name, err)
	}
	if equality.Semantic.DeepEqual(have.Subsets, want.Subsets) && maps.Equal(have.Labels, want.Labels) && have.Annotations[corev1.EndpointsOverCapacity] == want.Annotations[corev1.EndpointsOverCapacity] {
		return nil
	}
	update := have.DeepCopy()
	update.Subsets, update.Labels = want.Subsets, want.Labels
	delete(update.Annotations, corev1.EndpointsOverCapacity)
	for k, v := range want.Annotations {
		if update.Annotations == nil {
			update.Annotations = map[string]string{}
		}
		update.Annotations[k] = v
	}
	if err := c.Client.Update(ctx, update); err != nil {
		return fmt.Errorf("update endpoints %s: %w", svc.Name, err)
	}
	return nil
}

// dropEndpoints removes the Endpoints of a Service that is gone, if they were made here.
func (c *Controller) dropEndpoints(ctx context.Context, key types.NamespacedName) error {
	have := &corev1.Endpoints{}
	if err := c.Client.Get(ctx, key, have); err != nil {
		return client.IgnoreNotFound(err)
	}
	if have.Labels[managedBy] != endpointsManager {
		return nil
	}
	return client.IgnoreNotFound(c.Client.Delete(ctx, have, client.Preconditions{UID: &have.UID}))
}
