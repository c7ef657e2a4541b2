package apiserver_test

import (
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// TestStatusMetadata: annotations come along with a status, where Kubernetes lets them.
func TestStatusMetadata(t *testing.T) {
	ns := shared.namespace(t)
	sets := shared.typed(t).AppsV1().StatefulSets(ns)
	d := deployment("s", 1)
	set := &appsv1.StatefulSet{ObjectMeta: d.ObjectMeta, Spec: appsv1.StatefulSetSpec{Replicas: d.Spec.Replicas, Selector: d.Spec.Selector, Template: d.Spec.Template}}
	must(sets.Create(t.Context(), set, metav1.CreateOptions{}))(t)
	patch := []byte(`{"metadata":{"annotations":{"a":"b"}},"spec":{"replicas":7},"status":{"replicas":3}}`)
	got := must(sets.Patch(t.Context(), "s", types.MergePatchType, patch, metav1.PatchOptions{}, "status"))(t)
	if got.Annotations["a"] != "b" || got.Status.Replicas != 3 || *got.Spec.Replicas != 1 {
		t.Errorf("got %+v", got)
	}

	must(shared.typed(t).AppsV1().Deployments(ns).Create(t.Context(), deployment("d", 1), metav1.CreateOptions{}))(t)
	patch = []byte(`{"metadata":{"annotations":{"a":"b"},"labels":{"c":"d"}},"status":{"replicas":3}}`)
	of := must(shared.typed(t).AppsV1().Deployments(ns).Patch(t.Context(), "d", types.MergePatchType, patch, metav1.PatchOptions{}, "status"))(t)
	if of.Annotations["a"] != "b" || of.Labels["c"] != "" || of.Status.Replicas != 3 {
		t.Errorf("got %+v", of)
	}
}
