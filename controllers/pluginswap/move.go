package pluginswap

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gantryio/gantry/core/api/plugins/v1alpha1"
)

// move takes a node's pods from one plugin to another, and reports whether that is done. own is the default that the
// node's NodePlugins shall name: "" for none.
func (p *plan) move(s *v1alpha1.PluginSwap, w world, n *v1alpha1.SwapNode, from, to, own string) bool {
	here := w.nodes[n.Name]
	if here.plugins == nil {
		n.Message = "the node is gone"
		return true
	}
	t := s.Spec.Type
	if here.plugins.Spec.Defaults[t] != own {
		p.defaults[n.Name] = own
		n.Message = "the default changes to " + to
		return false
	}
	if here.plugins.Status.ObservedGeneration != here.plugins.Generation {
		n.Message = "waits for the node to take over the default"
		return false
	}
	next := instance(here.plugins, t, to)
	if own != "" && (next == nil || !next.Default) {
		n.Message = "waits for " + to + " to be the default"
		return false
	}
	before := n.Remaining
	var waits string
	n.Remaining, n.Left = 0, nil
	for _, pod := range here.pods[from] {
		if stays(s, w, pod, from) {
			n.Left = append(n.Left, pod.Namespace+"/"+pod.Name)
			continue
		}
		n.Remaining++
		if text := p.replace(w, pod); text != "" && waits == "" {
			waits = text
		}
	}
	if n.Remaining != before {
		n.ProgressTime = &metav1.Time{Time: w.now}
	}
	slices.Sort(n.Left)
	if n.Remaining > 0 {
		n.Message = waits
		return false
	}
	if text := unsettled(here.pods[to]); text != "" {
		n.Message = text
		return false
	}
	return true
}

// stays tells that a pod is not moved.
func stays(s *v1alpha1.PluginSwap, w world, pod *corev1.Pod, from string) bool {
	if w.pinned(pod, from) {
		return true
	}
	return metav1.GetControllerOf(pod) == nil && s.Spec.BarePods != v1alpha1.Evict
}

// replace evicts a pod if its siblings can do without, and otherwise says what it waits for. Of each controller's
// pods at most one is on its way at a time.
func (p *plan) replace(w world, pod *corev1.Pod) string {
	if pod.DeletionTimestamp != nil {
		return fmt.Sprintf("pod %s/%s ends", pod.Namespace, pod.Name)
	}
	if pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
		p.evict = append(p.evict, pod)
		return ""
	}
	owner := metav1.GetControllerOf(pod)
	if owner == nil {
		p.evict = append(p.evict, pod)
		return fmt.Sprintf("pod %s/%s is evicted", pod.Namespace, pod.Name)
	}
	if slices.ContainsFunc(p.evict, func(o *corev1.Pod) bool {
		ref := metav1.GetControllerOf(o)
		return ref != nil && ref.UID == owner.UID
	}) {
		return ""
	}
	var healthy int32
	for _, o := range w.siblings[owner.UID] {
		switch {
		case o.DeletionTimestamp != nil:
			return fmt.Sprintf("pod %s/%s ends", o.Namespace, o.Name)
		case ready(o) || o.Status.Phase == corev1.PodSucceeded:
			healthy++
		case o.UID != pod.UID && (owner.Kind == "DaemonSet" || owner.Kind == "Node"): // Static pods are those of their node.
			return fmt.Sprintf("pod %s/%s is not ready", o.Namespace, o.Name)
		}
	}
	if want := w.wanted[owner.UID]; want >= 0 && ready(pod) && healthy < want {
		return fmt.Sprintf("%s %s/%s has %d of %d pods ready", owner.Kind, pod.Namespace, owner.Name, healthy, want)
	}
	p.evict = append(p.evict, pod)
	return fmt.Sprintf("pod %s/%s is evicted", pod.Namespace, pod.Name)
}

// unsettled says which of the pods that have arrived is not ready yet.
func unsettled(pods []*corev1.Pod) string {
	for _, pod := range pods {
		owner := metav1.GetControllerOf(pod)
		if owner == nil || pod.DeletionTimestamp != nil || ready(pod) ||
			pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
			continue
		}
		return fmt.Sprintf("pod %s/%s is not ready", pod.Namespace, pod.Name)
	}
	return ""
}

func ready(p *corev1.Pod) bool {
	for i := range p.Status.Conditions {
		if p.Status.Conditions[i].Type == corev1.PodReady {
			return p.Status.Conditions[i].Status == corev1.ConditionTrue
		}
	}
	return false
}
