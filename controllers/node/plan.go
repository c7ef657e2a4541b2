package node

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// plan is what to do about one node.
type plan struct {
	taints []corev1.Taint
	// conditions replace those of a node that fell silent, nil for no change.
	conditions []corev1.NodeCondition
	// silent nodes have no ready pods.
	silent bool
	// wakeAfter is when the node will have been silent for too long.
	wakeAfter time.Duration
}

// watched are the conditions that an agent reports, and so those that become Unknown.
var watched = []corev1.NodeConditionType{corev1.NodeReady, corev1.NodeMemoryPressure, corev1.NodeDiskPressure, corev1.NodePIDPressure}

// pressures are the taints of conditions that are true.
var pressures = []struct {
	condition corev1.NodeConditionType
	key       string
}{
	{corev1.NodeMemoryPressure, corev1.TaintNodeMemoryPressure},
	{corev1.NodeDiskPressure, corev1.TaintNodeDiskPressure},
	{corev1.NodeNetworkUnavailable, corev1.TaintNodeNetworkUnavailable},
	{corev1.NodePIDPressure, corev1.TaintNodePIDPressure},
}

// owned are the keys of the taints that the controller adds and removes.
var owned = []string{
	corev1.TaintNodeNotReady, corev1.TaintNodeUnreachable, corev1.TaintNodeMemoryPressure, corev1.TaintNodeDiskPressure,
	corev1.TaintNodeNetworkUnavailable, corev1.TaintNodePIDPressure, corev1.TaintNodeUnschedulable,
}

// decide compares a node with when it was last heard of. allSilent is asked for nodes that are not ready:
// while no node at all is ready, none is emptied.
func decide(n *corev1.Node, heard, now time.Time, grace time.Duration, allSilent func() bool) plan {
	var p plan
	conditions := n.Status.Conditions
	if left := heard.Add(grace).Sub(now); left > 0 {
		p.wakeAfter = left
	} else {
		p.wakeAfter = grace
		if c := unknown(n, now); c != nil {
			p.conditions, conditions = c, c
		}
	}
	state := statusOf(conditions, corev1.NodeReady)
	p.silent = state == corev1.ConditionUnknown && find(conditions, corev1.NodeReady) != nil
	p.taints = taints(n, conditions, state, now, allSilent)
	return p
}

// unknown are the conditions of a node that is silent, nil when they are Unknown already.
func unknown(n *corev1.Node, now time.Time) []corev1.NodeCondition {
	out, changed := slices.Clone(n.Status.Conditions), false
	at := metav1.NewTime(now)
	for _, t := range watched {
		c := find(out, t)
		if c == nil {
			out = append(out, corev1.NodeCondition{
				Type: t, Status: corev1.ConditionUnknown, Reason: "NodeStatusNeverUpdated",
				Message: "Kubelet never posted node status.", LastHeartbeatTime: n.CreationTimestamp, LastTransitionTime: at,
			})
			changed = true
			continue
		}
		if c.Status == corev1.ConditionUnknown {
			continue
		}
		c.Status, c.Reason, c.Message = corev1.ConditionUnknown, "NodeStatusUnknown", "Kubelet stopped posting node status."
		c.LastTransitionTime = at
		changed = true
	}
	if !changed {
		return nil
	}
	return out
}

// taints are the node's own ones and those that follow from its conditions. A node that is not ready
// takes no pods; it loses those that it has unless all nodes are alike.
func taints(n *corev1.Node, conditions []corev1.NodeCondition, state corev1.ConditionStatus, now time.Time, allSilent func() bool) []corev1.Taint {
	var want []corev1.Taint
	if state != corev1.ConditionTrue {
		key := corev1.TaintNodeNotReady
		if state == corev1.ConditionUnknown && find(conditions, corev1.NodeReady) != nil {
			key = corev1.TaintNodeUnreachable
		}
		want = append(want, corev1.Taint{Key: key, Effect: corev1.TaintEffectNoSchedule})
		if find(conditions, corev1.NodeReady) != nil && !allSilent() {
			want = append(want, corev1.Taint{Key: key, Effect: corev1.TaintEffectNoExecute})
		}
	}
	for _, p := range pressures {
		if statusOf(conditions, p.condition) == corev1.ConditionTrue {
			want = append(want, corev1.Taint{Key: p.key, Effect: corev1.TaintEffectNoSchedule})
		}
	}
	if n.Spec.Unschedulable {
		want = append(want, corev1.Taint{Key: corev1.TaintNodeUnschedulable, Effect: corev1.TaintEffectNoSchedule})
	}
	return merge(n.Spec.Taints, want, now)
}

// merge keeps foreign taints and wanted ones that are there, in their order, and appends the others.
func merge(have, want []corev1.Taint, now time.Time) []corev1.Taint {
	var out []corev1.Taint
	for _, t := range have {
		ours := slices.Contains(owned, t.Key) && t.Effect != corev1.TaintEffectPreferNoSchedule
		at := slices.IndexFunc(want, func(w corev1.Taint) bool { return w.MatchTaint(&t) })
		if at >= 0 {
			want = slices.Delete(want, at, at+1)
		}
		if !ours || at >= 0 {
			out = append(out, t)
		}
	}
	for _, t := range want {
		at := metav1.NewTime(now)
		t.TimeAdded = &at
		out = append(out, t)
	}
	return out
}

func find(conditions []corev1.NodeCondition, t corev1.NodeConditionType) *corev1.NodeCondition {
	for i := range conditions {
		if conditions[i].Type == t {
			return &conditions[i]
		}
	}
	return nil
}

// statusOf is Unknown for a condition that is not there.
func statusOf(conditions []corev1.NodeCondition, t corev1.NodeConditionType) corev1.ConditionStatus {
	if c := find(conditions, t); c != nil {
		return c.Status
	}
	return corev1.ConditionUnknown
}

func ready(n *corev1.Node) corev1.ConditionStatus {
	return statusOf(n.Status.Conditions, corev1.NodeReady)
}

// reported is the time that the node's agent wrote into its last status.
func reported(n *corev1.Node) time.Time {
	if c := find(n.Status.Conditions, corev1.NodeReady); c != nil {
		return c.LastHeartbeatTime.Time
	}
	return time.Time{}
}

// unready is the pod with its condition Ready set to false, nil when it is not ready anyway.
func unready(pod *corev1.Pod, now time.Time) *corev1.Pod {
	for i := range pod.Status.Conditions {
		c := &pod.Status.Conditions[i]
		if c.Type != corev1.PodReady || c.Status != corev1.ConditionTrue {
			continue
		}
		update := pod.DeepCopy()
		update.Status.Conditions[i].Status = corev1.ConditionFalse
		update.Status.Conditions[i].LastTransitionTime = metav1.NewTime(now)
		return update
	}
	return nil
}
