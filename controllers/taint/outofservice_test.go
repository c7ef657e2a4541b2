package taint

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// What is being deleted on a node that is out of service goes at once, unless the node is ready after all.
func TestOutOfService(t *testing.T) {
	for _, tc := range []struct {
		name  string
		taint string
		ready corev1.ConditionStatus
		left  []string
	}{
		{"lost", corev1.TaintNodeOutOfService, corev1.ConditionUnknown, []string{"stays"}},
		{"ready", corev1.TaintNodeOutOfService, corev1.ConditionTrue, []string{"going", "stays"}},
		{"only unreachable", corev1.TaintNodeUnreachable, corev1.ConditionUnknown, []string{"going", "stays"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			node := &corev1.Node{
				ObjectMeta: metav1.ObjectMeta{Name: "a"}, Spec: corev1.NodeSpec{Taints: []corev1.Taint{added(tc.taint, time.Hour)}},
				Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: tc.ready}}},
			}
			going := pod("going", tolerate(tc.taint))
			going.Finalizers = []string{"test/agent"} // the fake API knows no grace period
			h := setup(node, pod("stays", tolerate(tc.taint)), going)
			if err := h.Client.Delete(t.Context(), going); err != nil {
				t.Fatal(err)
			}
			if _, err := h.Reconcile(t.Context(), requestOf("a")); err != nil {
				t.Fatal(err)
			}
			var list corev1.PodList
			if err := h.Client.List(t.Context(), &list); err != nil {
				t.Fatal(err)
			}
			left := []string{}
			for _, p := range list.Items {
				if p.Status.Phase != corev1.PodFailed {
					left = append(left, p.Name)
				}
			}
			if diff := cmp.Diff(tc.left, left); diff != "" {
				t.Error(diff)
			}
		})
	}
}
