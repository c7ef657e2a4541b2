package core

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/component-helpers/resource"
)

// defaultPodRequests completes the resources of the whole pod: a request comes from what the containers
// ask for together, or else from the limit of the pod.
func defaultPodRequests(p *corev1.Pod) {
	if p.Spec.Resources == nil {
		return
	}
	r := p.Spec.Resources
	requests := r.Requests
	if requests == nil {
		requests = corev1.ResourceList{}
	}
	for name, q := range resource.AggregateContainerRequests(p, resource.PodResourcesOptions{}) {
		if _, ok := requests[name]; ok || !resource.IsSupportedPodLevelResource(name) {
			continue
		}
		if strings.HasPrefix(string(name), corev1.ResourceHugePagesPrefix) {
			if _, ok := r.Limits[name]; ok {
				continue
			}
		}
		requests[name] = q
	}
	for name, q := range r.Limits {
		if _, ok := requests[name]; !ok && resource.IsSupportedPodLevelResource(name) {
			requests[name] = q.DeepCopy()
		}
	}
	if len(requests) > 0 {
		r.Requests = requests
	}
}
