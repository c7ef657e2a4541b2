package volumebinding

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/record"
	"k8s.io/component-helpers/storage/volume"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// A claim is bound, its volume released when it goes, and free again when somebody takes the reference away.
func TestLifeOfAVolume(t *testing.T) {
	v, c := pv("a", "3Gi"), claim()
	api := fake.NewClientBuilder().WithScheme(scheme.Scheme).WithObjects(v, c).WithStatusSubresource(v, c).Build()
	ctrl := &Controller{Client: api, Recorder: record.NewFakeRecorder(10)}
	one, both := types.NamespacedName{Namespace: "x", Name: "c"}, types.NamespacedName{Name: "a"}
	sync := func() (*corev1.PersistentVolume, *corev1.PersistentVolumeClaim) {
		t.Helper()
		for range 2 {
			if _, err := ctrl.claim(t.Context(), reconcile.Request{NamespacedName: one}); err != nil {
				t.Fatal(err)
			}
			if _, err := ctrl.volume(t.Context(), reconcile.Request{NamespacedName: both}); err != nil {
				t.Fatal(err)
			}
		}
		v, c := &corev1.PersistentVolume{}, &corev1.PersistentVolumeClaim{}
		if err := api.Get(t.Context(), both, v); err != nil {
			t.Fatal(err)
		}
		if err := client.IgnoreNotFound(api.Get(t.Context(), one, c)); err != nil {
			t.Fatal(err)
		}
		return v, c
	}
	v, c = sync()
	if v.Status.Phase != corev1.VolumeBound || v.Spec.ClaimRef.UID != "c1" || v.Annotations[volume.AnnBoundByController] == "" {
		t.Errorf("volume: %s %+v", v.Status.Phase, v.Spec.ClaimRef)
	}
	if c.Status.Phase != corev1.ClaimBound || c.Spec.VolumeName != "a" || c.Annotations[volume.AnnBindCompleted] == "" || c.Status.Capacity.Storage().String() != "3Gi" {
		t.Errorf("claim: %+v", c)
	}
	if err := api.Delete(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if v, _ = sync(); v.Status.Phase != corev1.VolumeReleased || v.Spec.ClaimRef == nil {
		t.Errorf("released volume: %s %+v", v.Status.Phase, v.Spec.ClaimRef)
	}
	v.Spec.ClaimRef = nil
	if err := api.Update(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	if v, _ = sync(); v.Status.Phase != corev1.VolumeAvailable {
		t.Errorf("freed volume: %s", v.Status.Phase)
	}
}
