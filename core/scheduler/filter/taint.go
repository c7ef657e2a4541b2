package filter

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"

	"github.com/gantryio/gantry/core/scheduler/snapshot"
)

// TaintToleration keeps pods off nodes with a taint NoSchedule or NoExecute that they do not tolerate.
type TaintToleration struct{}

var _ Filter = TaintToleration{}

var tainted = final("node(s) had untolerated taint(s)")

// Name implements Filter.
func (TaintToleration) Name() string { return "TaintToleration" }

// Check implements Filter.
func (TaintToleration) Check(p *snapshot.Pod, n *snapshot.Node) []Reason {
	if Tainted(p, n) {
		return tainted
	}
	return nil
}

// Tainted tells whether a taint that the pod does not tolerate keeps it off the node.
func Tainted(p *snapshot.Pod, n *snapshot.Node) bool {
	for i := range n.Object.Spec.Taints {
		t := &n.Object.Spec.Taints[i]
		if t.Effect != corev1.TaintEffectPreferNoSchedule && !Tolerates(p.Tolerations, t) {
			return true
		}
	}
	return false
}

// Tolerates tells whether any of the tolerations is for the taint.
func Tolerates(tolerations []corev1.Toleration, t *corev1.Taint) bool {
	for i := range tolerations {
		if tolerations[i].ToleratesTaint(klog.Logger{}, t, true) {
			return true
		}
	}
	return false
}
