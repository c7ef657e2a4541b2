package scheduler

import (
	"context"
	"maps"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// owners knows which pods belong together: those of a Service and those of a controller. The default
// spread constraints are about these.
type owners struct {
	reader   client.Reader
	services map[string]map[string]labels.Set // selectors by namespace and name
	known    map[types.UID]labels.Selector    // of controllers
	version  int64                            // changes when a selector that was told may have
}

const maxOwners = 1 << 14

func newOwners(reader client.Reader) *owners {
	return &owners{reader: reader, services: map[string]map[string]labels.Set{}, known: map[types.UID]labels.Selector{}}
}

func (o *owners) setService(svc *corev1.Service) {
	in := o.services[svc.Namespace]
	if have, ok := in[svc.Name]; ok && maps.Equal(have, svc.Spec.Selector) || !ok && len(svc.Spec.Selector) == 0 {
		return
	}
	if in == nil {
		in = map[string]labels.Set{}
		o.services[svc.Namespace] = in
	}
	in[svc.Name] = svc.Spec.Selector
	o.version++
}

func (o *owners) dropService(svc *corev1.Service) {
	if _, ok := o.services[svc.Namespace][svc.Name]; ok {
		delete(o.services[svc.Namespace], svc.Name)
		o.version++
	}
}

// selector selects the pods that belong together with the pod; it is empty when there are none.
func (o *owners) selector(pod *corev1.Pod) labels.Selector {
	set := labels.Set{}
	for _, selector := range o.services[pod.Namespace] {
		if len(selector) > 0 && selector.AsSelectorPreValidated().Matches(labels.Set(pod.Labels)) {
			maps.Copy(set, selector)
		}
	}
	out := labels.NewSelector()
	if len(set) > 0 {
		out = set.AsSelectorPreValidated()
	}
	ref := metav1.GetControllerOfNoCopy(pod)
	if ref == nil {
		return out
	}
	if of := o.controller(pod.Namespace, ref); of != nil {
		more, _ := of.Requirements()
		out = out.Add(more...)
	}
	return out
}

// controller is the selector of a controller, nil when it has none or is not there.
func (o *owners) controller(namespace string, ref *metav1.OwnerReference) labels.Selector {
	if s, ok := o.known[ref.UID]; ok {
		return s
	}
	key := types.NamespacedName{Namespace: namespace, Name: ref.Name}
	var selector *metav1.LabelSelector
	var err error
	switch ref.APIVersion + "/" + ref.Kind {
	case "apps/v1/ReplicaSet":
		var rs appsv1.ReplicaSet
		if err = o.reader.Get(context.Background(), key, &rs); err == nil {
			selector = rs.Spec.Selector
		}
	case "apps/v1/StatefulSet":
		var set appsv1.StatefulSet
		if err = o.reader.Get(context.Background(), key, &set); err == nil {
			selector = set.Spec.Selector
		}
	case "v1/ReplicationController":
		var rc corev1.ReplicationController
		if err = o.reader.Get(context.Background(), key, &rc); err == nil && len(rc.Spec.Selector) > 0 {
			selector = &metav1.LabelSelector{MatchLabels: rc.Spec.Selector}
		}
	default:
		return nil
	}
	if err != nil {
		return nil
	}
	var out labels.Selector
	if s, err := metav1.LabelSelectorAsSelector(selector); err == nil && selector != nil {
		out = s
	}
	if len(o.known) >= maxOwners {
		clear(o.known)
	}
	o.known[ref.UID] = out // selectors of controllers do not change
	return out
}
