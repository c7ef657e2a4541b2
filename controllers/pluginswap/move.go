package pluginswap

import (
	"fmt"
	"slices"
	"time"

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
	p.shift(s, w, n, from, to)
	if n.Remaining > 0 {
		return false
	}
	n.Message = unsettled(here.pods[to])
	return n.Message == ""
}

// shift evicts what may go from a node now, and notes in the node's status what has not gone yet.
func (p *plan) shift(s *v1alpha1.PluginSwap, w world, n *v1alpha1.SwapNode, from, to string) {
	here := w.nodes[n.Name]
	proven := slices.ContainsFunc(here.pods[to], func(o *corev1.Pod) bool { return o.DeletionTimestamp == nil && ready(o) })
	before := n.Remaining
	n.Remaining, n.Left, n.Message = 0, nil, ""
	for _, pod := range here.pods[from] {
		if stays(s, w, pod, from) {
			n.Left = append(n.Left, pod.Namespace+"/"+pod.Name)
			continue
		}
		n.Remaining++
		text, excused := p.replace(w, pod, proven)
		if text != "" && n.Message == "" {
			n.Message = text
		}
		if excused {
			excuse(s, n, w.now)
		}
	}
	if n.Remaining != before {
		n.ProgressTime = &metav1.Time{Time: w.now}
	}
	slices.Sort(n.Left)
}

// stays tells that a pod is not moved.
func stays(s *v1alpha1.PluginSwap, w world, pod *corev1.Pod, from string) bool {
	if w.pinned(pod, from) {
		return true
	}
	return metav1.GetControllerOf(pod) == nil && s.Spec.BarePods != v1alpha1.Evict
}

// replace evicts a pod if its family can do without, and otherwise says what it waits for. Until a pod has become ready
// on the new plugin of a node, each family loses one of its pods there at most. excused says that what it waits for is no
// fault of the new plugin.
func (p *plan) replace(w world, pod *corev1.Pod, proven bool) (waits string, excused bool) {
	evicted := fmt.Sprintf("pod %s/%s is evicted", pod.Namespace, pod.Name)
	owner := metav1.GetControllerOfNoCopy(pod)
	switch {
	case pod.DeletionTimestamp != nil: // The timestamp is the end of the grace that it was given.
		return fmt.Sprintf("pod %s/%s ends", pod.Namespace, pod.Name), pod.DeletionTimestamp.After(w.now)
	case done(pod):
		p.evict = append(p.evict, pod)
		return "", false
	case owner == nil || !ready(pod):
		p.evict = append(p.evict, pod)
		return evicted, false
	}
	f := w.families[owner.UID]
	missing, why, next := f.missing(w.now)
	p.wake(next)
	at := place{f, pod.Spec.NodeName}
	switch {
	case !proven && (p.first[at] || f.busyOn(pod.Spec.NodeName)):
		return why, next > 0
	case missing+p.taken[f] >= f.spare:
		return why, next > 0
	}
	p.taken[f]++
	p.first[at] = true
	p.evict = append(p.evict, pod)
	return evicted, false
}

// excuse puts off that a node is late. It is noted no more often than needed.
func excuse(s *v1alpha1.PluginSwap, n *v1alpha1.SwapNode, now time.Time) {
	if n.ProgressTime == nil || now.Sub(n.ProgressTime.Time) > patience(s)/4 {
		n.ProgressTime = &metav1.Time{Time: now}
	}
}

// unsettled says which of the pods that have arrived is not ready yet.
func unsettled(pods []*corev1.Pod) string {
	for _, pod := range pods {
		owner := metav1.GetControllerOf(pod)
		if owner == nil || pod.DeletionTimestamp != nil || ready(pod) ||
			done(pod) {
			continue
		}
		return fmt.Sprintf("pod %s/%s is not ready", pod.Namespace, pod.Name)
	}
	return ""
}
