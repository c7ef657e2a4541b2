package quota

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	podresource "k8s.io/component-helpers/resource"
)

const (
	requestsPrefix = corev1.DefaultResourceRequestsPrefix
	limitsPrefix   = "limits."
)

func podUsage(out corev1.ResourceList, pod *corev1.Pod) {
	if ended(pod) {
		return
	}
	out[corev1.ResourcePods] = one()
	requests := podresource.PodRequests(pod, podresource.PodResourcesOptions{
		UseStatusResources: true, InPlacePodLevelResourcesVerticalScalingEnabled: true,
	})
	addCompute(out, requests, podresource.PodLimits(pod, podresource.PodResourcesOptions{}))
}

// ended tells that a pod uses nothing any longer but its place among the objects.
func ended(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed || deleted(pod, metav1.Now())
}

// Ended tells whether a pod has ceased to use anything between two versions.
func Ended(old, now *corev1.Pod) bool { return !ended(old) && ended(now) }

// Resized tells whether how much a pod has, and so what it uses, has changed between two versions.
func Resized(old, now *corev1.Pod) bool {
	options := podresource.PodResourcesOptions{UseStatusResources: true, InPlacePodLevelResourcesVerticalScalingEnabled: true}
	if !resizing(old) && !resizing(now) {
		return false
	}
	was, is := podresource.PodRequests(old, options), podresource.PodRequests(now, options)
	return !maps.EqualFunc(was, is, func(a, b resource.Quantity) bool { return a.Cmp(b) == 0 })
}

func resizing(p *corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodResizePending || c.Type == corev1.PodResizeInProgress
	})
}

func addCompute(out, requests, limits corev1.ResourceList) {
	for name, q := range requests {
		switch {
		case plain(name), strings.HasPrefix(string(name), corev1.ResourceHugePagesPrefix):
			out[name], out[requestsPrefix+name] = q, q
		case strings.Contains(string(name), "/"):
			out[requestsPrefix+name] = q
		}
	}
	for name, q := range limits {
		if plain(name) {
			out[limitsPrefix+name] = q
		}
	}
}

func plain(name corev1.ResourceName) bool {
	return name == corev1.ResourceCPU || name == corev1.ResourceMemory || name == corev1.ResourceEphemeralStorage
}

func isPodResource(name corev1.ResourceName) bool {
	if name == corev1.ResourcePods || plain(name) || strings.HasPrefix(string(name), corev1.ResourceHugePagesPrefix) {
		return true
	}
	if rest, ok := strings.CutPrefix(string(name), limitsPrefix); ok {
		return plain(corev1.ResourceName(rest))
	}
	rest, ok := strings.CutPrefix(string(name), requestsPrefix)
	return ok && (plain(corev1.ResourceName(rest)) || strings.HasPrefix(rest, corev1.ResourceHugePagesPrefix) || strings.Contains(rest, "/"))
}

// must are the resources that every container has to speak of when a quota limits them.
var must = []corev1.ResourceName{
	corev1.ResourceCPU, corev1.ResourceLimitsCPU, corev1.ResourceLimitsMemory, corev1.ResourceMemory, corev1.ResourceRequestsCPU, corev1.ResourceRequestsMemory,
}

// Unspoken says in Kubernetes' words which containers do not say how much they want of what a quota limits; "" when all do.
func Unspoken(hard corev1.ResourceList, pod *corev1.Pod) string {
	whole := corev1.ResourceList{}
	if pod.Spec.Resources != nil {
		addCompute(whole, pod.Spec.Resources.Requests, pod.Spec.Resources.Limits)
	}
	missing := map[corev1.ResourceName][]string{}
	for _, c := range slices.Concat(pod.Spec.Containers, pod.Spec.InitContainers) {
		said := corev1.ResourceList{}
		addCompute(said, c.Resources.Requests, c.Resources.Limits)
		for _, name := range must {
			_, limited := hard[name]
			_, own := said[name]
			_, pods := whole[name]
			if limited && !own && !pods {
				missing[name] = append(missing[name], c.Name)
			}
		}
	}
	var out []string
	for _, name := range slices.Sorted(maps.Keys(missing)) {
		slices.Sort(missing[name])
		out = append(out, fmt.Sprintf("%s for: %s", name, strings.Join(missing[name], ",")))
	}
	if len(out) == 0 {
		return ""
	}
	return "must specify " + strings.Join(out, "; ")
}

func podFits(r *corev1.ScopedResourceSelectorRequirement, pod *corev1.Pod) bool {
	switch r.ScopeName {
	case corev1.ResourceQuotaScopeTerminating:
		return terminating(pod)
	case corev1.ResourceQuotaScopeNotTerminating:
		return !terminating(pod)
	case corev1.ResourceQuotaScopeBestEffort:
		return bestEffort(pod)
	case corev1.ResourceQuotaScopeNotBestEffort:
		return !bestEffort(pod)
	case corev1.ResourceQuotaScopePriorityClass:
		if r.Operator == corev1.ScopeSelectorOpExists {
			return pod.Spec.PriorityClassName != ""
		}
		return selects(r, pod.Spec.PriorityClassName)
	case corev1.ResourceQuotaScopeCrossNamespacePodAffinity:
		return crosses(pod.Spec.Affinity)
	}
	return false
}

func terminating(pod *corev1.Pod) bool {
	return pod.Spec.ActiveDeadlineSeconds != nil && *pod.Spec.ActiveDeadlineSeconds >= 0
}

// bestEffort tells that nobody asks for cpu or memory.
func bestEffort(pod *corev1.Pod) bool {
	if pod.Status.QOSClass != "" {
		return pod.Status.QOSClass == corev1.PodQOSBestEffort
	}
	asks := func(r *corev1.ResourceRequirements) bool {
		for _, list := range []corev1.ResourceList{r.Requests, r.Limits} {
			for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
				if q, ok := list[name]; ok && !q.IsZero() {
					return true
				}
			}
		}
		return false
	}
	if pod.Spec.Resources != nil && asks(pod.Spec.Resources) {
		return false
	}
	for _, c := range slices.Concat(pod.Spec.Containers, pod.Spec.InitContainers) {
		if asks(&c.Resources) {
			return false
		}
	}
	return true
}

// crosses tells that the pod has affinity to pods of other namespaces.
func crosses(a *corev1.Affinity) bool {
	if a == nil {
		return false
	}
	var terms []corev1.PodAffinityTerm
	weighted := func(list []corev1.WeightedPodAffinityTerm) {
		for _, t := range list {
			terms = append(terms, t.PodAffinityTerm)
		}
	}
	if p := a.PodAffinity; p != nil {
		terms = append(terms, p.RequiredDuringSchedulingIgnoredDuringExecution...)
		weighted(p.PreferredDuringSchedulingIgnoredDuringExecution)
	}
	if p := a.PodAntiAffinity; p != nil {
		terms = append(terms, p.RequiredDuringSchedulingIgnoredDuringExecution...)
		weighted(p.PreferredDuringSchedulingIgnoredDuringExecution)
	}
	return slices.ContainsFunc(terms, func(t corev1.PodAffinityTerm) bool { return len(t.Namespaces) > 0 || t.NamespaceSelector != nil })
}
