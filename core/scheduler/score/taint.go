package score

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/gantryio/gantry/core/scheduler/filter"
	"github.com/gantryio/gantry/core/scheduler/snapshot"
)

// Taints counts the taints PreferNoSchedule that the pod does not tolerate. TaintToleration prefers nodes
// with few of them.
func Taints(p *snapshot.Pod, n *snapshot.Node) int64 {
	count := int64(0)
	for i := range n.Object.Spec.Taints {
		t := &n.Object.Spec.Taints[i]
		if t.Effect == corev1.TaintEffectPreferNoSchedule && !filter.Tolerates(p.Tolerations, t) {
			count++
		}
	}
	return count
}
