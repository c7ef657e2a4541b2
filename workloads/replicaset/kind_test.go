package replicaset

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/record"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/gantryio/gantry/core/client/owner"
)

func TestReplicationController(t *testing.T) {
	web := map[string]string{"app": "web"}
	rc := &corev1.ReplicationController{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web", UID: "rc", Generation: 2},
		Spec: corev1.ReplicationControllerSpec{Replicas: new(int32(2)), Selector: web, Template: &corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: web}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "a", Image: "a"}}},
		}},
	}
	api := fake.NewClientBuilder().WithScheme(scheme.Scheme).WithObjects(rc).WithStatusSubresource(rc).
		WithIndex(&corev1.Pod{}, owner.ByController, owner.Controllers).WithIndex(&corev1.Pod{}, owner.ByOrphanhood, owner.Orphanhood).Build()
	recorder := record.NewFakeRecorder(10)
	c := &Controller{Kind: ReplicationControllers, Client: api, Live: api, Recorder: recorder}
	for range 2 {
		if _, err := c.Reconcile(t.Context(), reconcile.Request{NamespacedName: key}); err != nil {
			t.Fatal(err)
		}
	}
	var pods corev1.PodList
	if err := api.List(t.Context(), &pods); err != nil {
		t.Fatal(err)
	}
	for _, p := range pods.Items {
		ref := metav1.GetControllerOf(&p)
		if diff := cmp.Diff("v1 ReplicationController web", ref.APIVersion+" "+ref.Kind+" "+ref.Name); diff != "" {
			t.Error(diff)
		}
	}
	if err := api.Get(t.Context(), key, rc); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(corev1.ReplicationControllerStatus{Replicas: 2, FullyLabeledReplicas: 2, ObservedGeneration: 2}, rc.Status); diff != "" {
		t.Error(diff)
	}
	if len(pods.Items) != 2 || len(recorder.Events) != 2 {
		t.Errorf("%d pods and %d events, want 2 and 2", len(pods.Items), len(recorder.Events))
	}
}
