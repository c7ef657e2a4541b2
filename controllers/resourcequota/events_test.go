package resourcequota

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// What makes an object use less makes the quotas of its namespace that count it be counted, and nothing else does.
func TestEvents(t *testing.T) {
	pods := schema.GroupResource{Resource: "pods"}
	quotaOf := func(namespace string, hard ...string) *corev1.ResourceQuota {
		return &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "q"}, Spec: corev1.ResourceQuotaSpec{Hard: list(hard...)}}
	}
	c := &Controller{Client: fake.NewClientBuilder().WithScheme(scheme.Scheme).WithObjects(quotaOf("a", "pods", "1"), quotaOf("b", "configmaps", "1")).Build()}
	pod := func(namespace string, phase corev1.PodPhase) client.Object {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "p"}, Status: corev1.PodStatus{Phase: phase}}
	}
	for name, tc := range map[string]struct {
		old, now client.Object
		want     int
	}{
		"a new one":           {nil, pod("a", corev1.PodRunning), 0},
		"one that runs":       {pod("a", corev1.PodPending), pod("a", corev1.PodRunning), 0},
		"one that ends":       {pod("a", corev1.PodRunning), pod("a", corev1.PodFailed), 1},
		"one that has gone":   {pod("a", corev1.PodRunning), nil, 1},
		"one that none count": {pod("b", corev1.PodRunning), nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			q := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
			defer q.ShutDown()
			c.events(pods)(t.Context(), tc.old, tc.now, q)
			if q.Len() != tc.want {
				t.Errorf("%d queued, want %d", q.Len(), tc.want)
			}
		})
	}
}
