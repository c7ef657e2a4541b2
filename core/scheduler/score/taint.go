package score

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/gantryio/gantry/core/scheduler/filter"
	"github.com/gantryio/gantry/core/scheduler/snapshot"
)

// TaintToleration prefers nodes with few taints PreferNoSchedule that the pod does not tolerate.
type TaintToleration struct{}

var _ Score = TaintToleration{}

// Name implements Score.
func (TaintToleration) Name() string { return "TaintToleration" }

// Score implements Score.
func (TaintToleration) Score(p *snapshot.Pod, n *snapshot.Node) int64 {
	count := int64(0)
	for i := range n.Object.Spec.Taints {
		t := &n.Object.Spec.Taints[i]
		if t.Effect == corev1.TaintEffectPreferNoSchedule && !filter.Tolerates(p.Tolerations, t) {
			count++
		}
	}
	return Max / (1 + count)
}
