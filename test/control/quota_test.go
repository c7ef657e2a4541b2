package control

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// used waits until a quota says that so much is used.
func (c *cluster) used(name corev1.ResourceName, amount string) {
	c.t.Helper()
	until(c, &corev1.ResourceQuotaList{}, "quota", func(l *corev1.ResourceQuotaList) string {
		got, ok := l.Items[0].Status.Used[name]
		if !ok {
			return fmt.Sprintf("%s has not been counted", name)
		}
		return want(string(name), got.String(), amount)
	})
}

// However many pods are created at once, as many get in as the quota lets in; what goes makes room, and so does what ends.
func TestQuota(t *testing.T) {
	c := start(t)
	c.addNode("n1")
	c.namespace("quota")
	until(c, &corev1.ServiceAccountList{}, "quota", func(l *corev1.ServiceAccountList) string { return want("accounts", len(l.Items), 1) })
	c.must(c.Create(c.ctx, &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: "quota", Name: "q"}, Spec: corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{
		corev1.ResourcePods: resource.MustParse("10"), "count/replicasets.apps": resource.MustParse("1"), corev1.ResourceSecrets: resource.MustParse("3"),
	}}}))
	c.used(corev1.ResourcePods, "0")
	pod := func(i int) *corev1.Pod {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "quota", Name: fmt.Sprint("p", i)}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "img"}}}}
		if i%2 == 0 {
			p.Annotations = map[string]string{exits: string(corev1.PodSucceeded)}
		}
		return p
	}
	var in atomic.Int64
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			p := pod(2*i + 1)
			switch err := c.Create(c.ctx, p); {
			case err == nil:
				in.Add(1)
			case !apierrors.IsForbidden(err):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if in.Load() != 10 {
		t.Errorf("%d pods got in, want 10", in.Load())
	}
	c.used(corev1.ResourcePods, "10")
	var all corev1.PodList
	c.must(c.List(c.ctx, &all))
	for i := range all.Items[:4] {
		c.must(c.Delete(c.ctx, &all.Items[i]))
	}
	c.used(corev1.ResourcePods, "6")
	c.must(c.Create(c.ctx, pod(2)))
	c.must(c.Create(c.ctx, pod(4)))
	c.used(corev1.ResourcePods, "6") // they have ended
	c.must(c.Create(c.ctx, &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Namespace: "quota", Name: "rs"}, Spec: appsv1.ReplicaSetSpec{
		Replicas: new(int32(9)), Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}},
		Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"a": "b"}}, Spec: pod(1).Spec},
	}}))
	c.used(corev1.ResourcePods, "10")
	c.used("count/replicasets.apps", "1")
	until(c, &appsv1.ReplicaSetList{}, "quota", func(l *appsv1.ReplicaSetList) string {
		return want("replicas", l.Items[0].Status.Replicas, 4)
	})
}

// TestQuotaOfDefinedKinds counts objects of a kind that is defined after the quota, lets in no more of them than fit, and counts
// what goes.
func TestQuotaOfDefinedKinds(t *testing.T) {
	c := start(t)
	c.namespace("quota")
	const name = "count/widgets.example.com"
	c.must(c.Create(c.ctx, &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Namespace: "quota", Name: "q"},
		Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{name: resource.MustParse("2")}},
	}))
	c.must(c.Create(c.ctx, widgets()))
	c.used(name, "0")
	c.must(c.Create(c.ctx, widget("quota", "a")))
	c.must(c.Create(c.ctx, widget("quota", "b")))
	c.used(name, "2")
	if err := c.Create(c.ctx, widget("quota", "c")); !apierrors.IsForbidden(err) {
		t.Errorf("a third widget: %v", err)
	}
	c.must(c.Delete(c.ctx, widget("quota", "a")))
	c.used(name, "1")
	c.must(c.Create(c.ctx, widget("quota", "c")))
	c.used(name, "2")
}
