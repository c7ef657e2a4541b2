package filter

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/gantryio/gantry/core/scheduler/snapshot"
)

// NodeUnschedulable keeps pods off cordoned nodes, unless they tolerate the taint that stands for it.
type NodeUnschedulable struct{}

var _ Filter = NodeUnschedulable{}

var (
	cordon        = corev1.Taint{Key: corev1.TaintNodeUnschedulable, Effect: corev1.TaintEffectNoSchedule}
	unschedulable = final("node(s) were unschedulable")
)

// Name implements Filter.
func (NodeUnschedulable) Name() string { return "NodeUnschedulable" }

// Check implements Filter.
func (NodeUnschedulable) Check(p *snapshot.Pod, n *snapshot.Node) []Reason {
	if !n.Object.Spec.Unschedulable || Tolerates(p.Tolerations, &cordon) {
		return nil
	}
	return unschedulable
}
