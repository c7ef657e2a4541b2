package control

import (
	"fmt"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrlclient "sigs.k8s.io/controller-runtime/pkg/client"
)

// Orphans are adopted, and stand behind Services, whichever comes first: they with the labels, or who wants them.
func TestRelabelledOrphans(t *testing.T) {
	c := start(t)
	c.addNode("n1")
	c.namespace("orphans")
	until(c, &corev1.ServiceAccountList{}, "orphans", func(l *corev1.ServiceAccountList) string { return want("accounts", len(l.Items), 1) })
	web := map[string]string{"app": "web"}
	orphan := func(name string) {
		c.must(c.Create(c.ctx, &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "orphans", Name: name, Labels: map[string]string{"app": "none"}},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Image: "web:1"}}},
		}))
		until(c, &corev1.PodList{}, "orphans", func(l *corev1.PodList) string {
			for i := range l.Items {
				if p := &l.Items[i]; p.Name == name {
					return want("phase", p.Status.Phase, corev1.PodRunning)
				}
			}
			return "no such pod"
		})
		c.must(c.Patch(c.ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "orphans", Name: name}},
			ctrlclient.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"labels":{"app":"web"}}}`))))
	}
	adopted := func(n int) {
		t.Helper()
		until(c, &corev1.PodList{}, "orphans", func(l *corev1.PodList) string {
			owned := 0
			for i := range l.Items {
				if ref := metav1.GetControllerOfNoCopy(&l.Items[i]); ref != nil && ref.Kind == "ReplicaSet" {
					owned++
				}
			}
			return want("pods, and those with an owner", fmt.Sprint(len(l.Items), owned), fmt.Sprint(n, n))
		})
		until(c, &discoveryv1.EndpointSliceList{}, "orphans", func(l *discoveryv1.EndpointSliceList) string {
			endpoints := 0
			for _, s := range l.Items {
				endpoints += len(s.Endpoints)
			}
			return want("endpoints", endpoints, n)
		})
	}
	orphan("first")
	d := deploymentOf("orphans", 1)
	c.must(c.Create(c.ctx, &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: "orphans", Name: "web"},
		Spec:       appsv1.ReplicaSetSpec{Replicas: new(int32(1)), Selector: d.Spec.Selector, Template: d.Spec.Template},
	}))
	c.must(c.Create(c.ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "orphans", Name: "web"}, Spec: corev1.ServiceSpec{Selector: web, Ports: []corev1.ServicePort{{Port: 80}}},
	}))
	adopted(1)
	c.must(c.Patch(c.ctx, &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Namespace: "orphans", Name: "web"}},
		ctrlclient.RawPatch("application/merge-patch+json", []byte(`{"spec":{"replicas":2}}`))))
	adopted(2)
	until(c, &appsv1.ReplicaSetList{}, "orphans", func(l *appsv1.ReplicaSetList) string {
		return want("available", l.Items[0].Status.AvailableReplicas, 2) // nothing but the orphan will bring the set back
	})
	orphan("second") // is one too many, so that one of three goes
	adopted(2)
}
