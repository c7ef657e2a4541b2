package control

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// half is a pod that asks for half of a node, of a priority class.
func half(name, class string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "preempt", Labels: map[string]string{"app": name}},
		Spec: corev1.PodSpec{PriorityClassName: class, Containers: []corev1.Container{{
			Name: "c", Image: "img", Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("32")}},
		}}},
	}
}

// running waits until just these pods are on the node.
func (c *cluster) running(names ...string) {
	c.t.Helper()
	until(c, &corev1.PodList{}, "preempt", func(l *corev1.PodList) string {
		var got []string
		for i := range l.Items {
			if p := &l.Items[i]; p.Spec.NodeName != "" && p.DeletionTimestamp == nil {
				got = append(got, p.Name)
			}
		}
		return want("pods", fmt.Sprint(got), fmt.Sprint(names))
	})
}

// A pod of higher priority takes the place of the one that no budget keeps; one of equal priority waits.
func TestPreemption(t *testing.T) {
	c := start(t)
	c.addNode("n1")
	c.namespace("preempt")
	until(c, &corev1.ServiceAccountList{}, "preempt", func(l *corev1.ServiceAccountList) string { return want("accounts", len(l.Items), 1) })
	c.must(c.Create(c.ctx, &schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: "high"}, Value: 1000}))
	c.must(c.Create(c.ctx, &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Namespace: "preempt", Name: "kept"},
		Spec:       policyv1.PodDisruptionBudgetSpec{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "kept"}}, MinAvailable: new(intstr.FromInt32(1))},
	}))
	c.must(c.Create(c.ctx, half("kept", "")))
	c.must(c.Create(c.ctx, half("spare", "")))
	c.running("kept", "spare")
	c.must(c.Create(c.ctx, half("waits", "")))
	c.must(c.Create(c.ctx, half("important", "high")))
	c.running("important", "kept")
	until(c, &corev1.PodList{}, "preempt", func(l *corev1.PodList) string {
		for i := range l.Items {
			if p := &l.Items[i]; p.Name == "waits" && len(p.Status.Conditions) > 0 {
				const why = "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."
				return want("message", p.Status.Conditions[0].Message, why)
			}
		}
		return "no condition"
	})
}
