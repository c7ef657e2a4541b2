// Package quota computes what an object uses of a ResourceQuota and which quotas it concerns. It exists apart because the
// admission of new objects and the controller that counts the ones there are must agree.
package quota

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gantryio/gantry/core/api"
)

// Charge is what a write has been charged for in a quota while it is under way.
type Charge struct {
	// Object is the UID of an object that is being created; "" for a change of one that is there.
	Object types.UID
	Use    corev1.ResourceList
}

// legacy are the kinds that are also counted under their own name.
var legacy = map[string]bool{"configmaps": true, "persistentvolumeclaims": true, "replicationcontrollers": true, "resourcequotas": true, "secrets": true, "services": true}

// CountName is the name under which the objects of a kind are counted.
func CountName(gr schema.GroupResource) corev1.ResourceName {
	return corev1.ResourceName("count/" + gr.String())
}

// Usage is what an object uses of anything that a quota can limit.
func Usage(gr schema.GroupResource, obj api.Object) corev1.ResourceList {
	out := corev1.ResourceList{CountName(gr): one()}
	if gr.Group == "" && legacy[gr.Resource] {
		out[corev1.ResourceName(gr.Resource)] = one()
	}
	switch o := obj.(type) {
	case *corev1.Pod:
		podUsage(out, o)
	case *corev1.Service:
		serviceUsage(out, o)
	case *corev1.PersistentVolumeClaim:
		claimUsage(out, o)
	}
	return out
}

func one() resource.Quantity { return *resource.NewQuantity(1, resource.DecimalSI) }

func number(n int) resource.Quantity { return *resource.NewQuantity(int64(n), resource.DecimalSI) }

func serviceUsage(out corev1.ResourceList, s *corev1.Service) {
	out[corev1.ResourceServicesNodePorts], out[corev1.ResourceServicesLoadBalancers] = number(0), number(0)
	switch s.Spec.Type {
	case corev1.ServiceTypeNodePort:
		out[corev1.ResourceServicesNodePorts] = number(len(s.Spec.Ports))
	case corev1.ServiceTypeLoadBalancer:
		ports := len(s.Spec.Ports)
		if a := s.Spec.AllocateLoadBalancerNodePorts; a != nil && !*a {
			ports = 0
			for _, p := range s.Spec.Ports {
				if p.NodePort != 0 {
					ports++
				}
			}
		}
		out[corev1.ResourceServicesNodePorts], out[corev1.ResourceServicesLoadBalancers] = number(ports), number(1)
	}
}

const ofClass = ".storageclass.storage.k8s.io/"

func claimUsage(out corev1.ResourceList, c *corev1.PersistentVolumeClaim) {
	class := c.Annotations[corev1.BetaStorageClassAnnotation]
	if class == "" && c.Spec.StorageClassName != nil {
		class = *c.Spec.StorageClassName
	}
	if class != "" {
		out[corev1.ResourceName(class+ofClass+"persistentvolumeclaims")] = one()
	}
	size, ok := c.Spec.Resources.Requests[corev1.ResourceStorage]
	if !ok {
		return
	}
	if a, ok := c.Status.AllocatedResources[corev1.ResourceStorage]; ok && a.Cmp(size) > 0 {
		size = a // it is still growing, or failed to
	}
	out[corev1.ResourceRequestsStorage] = size
	if class != "" {
		out[corev1.ResourceName(class+ofClass+"requests.storage")] = size
	}
}

// Matches tells whether the quota is about the object: its scopes fit, and it limits something that the object can use.
func Matches(q *corev1.ResourceQuota, gr schema.GroupResource, obj api.Object) bool {
	limits := false
	for name := range q.Status.Hard {
		limits = limits || Counts(gr, name)
	}
	return limits && InScope(&q.Spec, obj)
}

// Counts tells whether objects of the kind use a resource.
func Counts(gr schema.GroupResource, name corev1.ResourceName) bool {
	if name == CountName(gr) || gr.Group == "" && legacy[gr.Resource] && string(name) == gr.Resource {
		return true
	}
	switch gr {
	case schema.GroupResource{Resource: "pods"}:
		return isPodResource(name)
	case schema.GroupResource{Resource: "services"}:
		return name == corev1.ResourceServicesNodePorts || name == corev1.ResourceServicesLoadBalancers
	case schema.GroupResource{Resource: "persistentvolumeclaims"}:
		return name == corev1.ResourceRequestsStorage || strings.Contains(string(name), ofClass)
	}
	return false
}

// InScope tells whether all scopes of a quota fit an object. Scopes are about pods, and one of them about claims; an
// object of another kind is in the scope of quotas without any.
func InScope(s *corev1.ResourceQuotaSpec, obj api.Object) bool {
	for _, r := range Scopes(s) {
		if !fits(&r, obj) {
			return false
		}
	}
	return true
}

// Scopes are a quota's scopes and scope selector in one form.
func Scopes(s *corev1.ResourceQuotaSpec) []corev1.ScopedResourceSelectorRequirement {
	var out []corev1.ScopedResourceSelectorRequirement
	for _, scope := range s.Scopes {
		out = append(out, corev1.ScopedResourceSelectorRequirement{ScopeName: scope, Operator: corev1.ScopeSelectorOpExists})
	}
	if s.ScopeSelector != nil {
		out = append(out, s.ScopeSelector.MatchExpressions...)
	}
	return out
}

func fits(r *corev1.ScopedResourceSelectorRequirement, obj api.Object) bool {
	switch o := obj.(type) {
	case *corev1.Pod:
		return podFits(r, o)
	case *corev1.PersistentVolumeClaim:
		if r.ScopeName != corev1.ResourceQuotaScopeVolumeAttributesClass {
			return false
		}
		names := []*string{o.Spec.VolumeAttributesClassName, o.Status.CurrentVolumeAttributesClassName}
		if m := o.Status.ModifyVolumeStatus; m != nil {
			names = append(names, &m.TargetVolumeAttributesClassName)
		}
		found := false
		for _, name := range names {
			if name != nil && *name != "" {
				found = true
				if selects(r, *name) {
					return true
				}
			}
		}
		return !found && selects(r, "")
	}
	return false
}

// selects tells whether a requirement selects a value; "" is none.
func selects(r *corev1.ScopedResourceSelectorRequirement, value string) bool {
	set := labels.Set{}
	if value != "" {
		set["scope"] = value
	}
	operators := map[corev1.ScopeSelectorOperator]selection.Operator{
		corev1.ScopeSelectorOpIn: selection.In, corev1.ScopeSelectorOpNotIn: selection.NotIn,
		corev1.ScopeSelectorOpExists: selection.Exists, corev1.ScopeSelectorOpDoesNotExist: selection.DoesNotExist,
	}
	requirement, err := labels.NewRequirement("scope", operators[r.Operator], r.Values)
	return err == nil && requirement.Matches(set)
}

// Add returns the sum of two lists.
func Add(a, b corev1.ResourceList) corev1.ResourceList {
	out := corev1.ResourceList{}
	for name, q := range a {
		out[name] = q.DeepCopy()
	}
	for name, q := range b {
		sum := out[name]
		sum.Add(q)
		out[name] = sum
	}
	return out
}

// Grown returns what of now is more than it was.
func Grown(now, was corev1.ResourceList) corev1.ResourceList {
	out := corev1.ResourceList{}
	for name, q := range now {
		more := q.DeepCopy()
		more.Sub(was[name])
		if more.Sign() > 0 {
			out[name] = more
		}
	}
	return out
}

// Only returns what of a list has a name in the other.
func Only(list, names corev1.ResourceList) corev1.ResourceList {
	out := corev1.ResourceList{}
	for name, q := range list {
		if _, ok := names[name]; ok {
			out[name] = q
		}
	}
	return out
}

// Text writes a list as "name=amount", in order of the names.
func Text(list corev1.ResourceList) string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(list)) {
		q := list[name]
		out = append(out, fmt.Sprintf("%s=%s", name, q.String()))
	}
	return strings.Join(out, ",")
}

// Over says in Kubernetes' words by what the wish exceeds a quota, "" when it does not.
func Over(q *corev1.ResourceQuota, wish corev1.ResourceList) string {
	exceeded := corev1.ResourceList{}
	for name, sum := range Add(Only(q.Status.Used, wish), wish) {
		if most, ok := q.Status.Hard[name]; ok && sum.Cmp(most) > 0 {
			exceeded[name] = sum
		}
	}
	if len(exceeded) == 0 {
		return ""
	}
	return fmt.Sprintf("exceeded quota: %s, requested: %s, used: %s, limited: %s", q.Name,
		Text(Only(wish, exceeded)), Text(Only(q.Status.Used, exceeded)), Text(Only(q.Status.Hard, exceeded)))
}

// deleted tells whether an object's time to end is over.
func deleted(o metav1.Object, now metav1.Time) bool {
	at, grace := o.GetDeletionTimestamp(), o.GetDeletionGracePeriodSeconds()
	return at != nil && grace != nil && at.Before(&now)
}
