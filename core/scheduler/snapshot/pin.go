package snapshot

import (
	corev1 "k8s.io/api/core/v1"
)

// Pin is the only node that the pod's required node affinity names, as DaemonSets' pods name theirs; "" when
// it is not that simple. Pods that differ in nothing else are of one class, which leaves the pin aside.
func Pin(pod *corev1.Pod) string {
	if pod.Spec.Affinity == nil || pod.Spec.Affinity.NodeAffinity == nil || len(pod.Spec.TopologySpreadConstraints) > 0 {
		return "" // spreading counts by the nodes that the affinity selects
	}
	required := pod.Spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution
	if required == nil {
		return ""
	}
	pin := ""
	for i := range required.NodeSelectorTerms {
		fields := required.NodeSelectorTerms[i].MatchFields
		if len(fields) != 1 || fields[0].Key != "metadata.name" || fields[0].Operator != corev1.NodeSelectorOpIn || len(fields[0].Values) != 1 {
			return ""
		}
		if pin != "" && fields[0].Values[0] != pin {
			return ""
		}
		pin = fields[0].Values[0]
	}
	return pin
}

// unpinned is the pod without its pin; it shares everything else with it.
func unpinned(pod *corev1.Pod) *corev1.Pod {
	affinity, node, selector := *pod.Spec.Affinity, *pod.Spec.Affinity.NodeAffinity, corev1.NodeSelector{}
	for _, t := range node.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms {
		if len(t.MatchExpressions) == 0 {
			selector.NodeSelectorTerms = nil // one of the alternatives asks for nothing but the node
			break
		}
		selector.NodeSelectorTerms = append(selector.NodeSelectorTerms, corev1.NodeSelectorTerm{MatchExpressions: t.MatchExpressions})
	}
	node.RequiredDuringSchedulingIgnoredDuringExecution = nil
	if len(selector.NodeSelectorTerms) > 0 {
		node.RequiredDuringSchedulingIgnoredDuringExecution = &selector
	}
	affinity.NodeAffinity = &node
	out := *pod
	out.Spec.Affinity = &affinity
	return &out
}
