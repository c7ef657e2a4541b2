package ephemeralvolume

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestPlan(t *testing.T) {
	template := &corev1.PersistentVolumeClaimTemplate{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"a": "b"}}, Spec: corev1.PersistentVolumeClaimSpec{StorageClassName: new("fast")}}
	pod := func(edit func(*corev1.Pod)) *corev1.Pod {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "x", Name: "p", UID: "u"}, Spec: corev1.PodSpec{Volumes: []corev1.Volume{
			{Name: "none", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
			{Name: "v", VolumeSource: corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{VolumeClaimTemplate: template}}},
		}}}
		if edit != nil {
			edit(p)
		}
		return p
	}
	want := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: "x", Name: "p-v", Labels: map[string]string{"a": "b"}, OwnerReferences: []metav1.OwnerReference{
			{APIVersion: "v1", Kind: "Pod", Name: "p", UID: "u", Controller: new(true), BlockOwnerDeletion: new(true)},
		}},
		Spec: template.Spec,
	}
	foreign := want.DeepCopy()
	foreign.OwnerReferences = nil
	now := metav1.Now()
	for _, tc := range []struct {
		name      string
		pod       *corev1.Pod
		claims    map[string]*corev1.PersistentVolumeClaim
		create    []*corev1.PersistentVolumeClaim
		conflicts int
	}{
		{"new", pod(nil), nil, []*corev1.PersistentVolumeClaim{want}, 0},
		{"has it", pod(nil), map[string]*corev1.PersistentVolumeClaim{"p-v": want}, nil, 0},
		{"another's", pod(nil), map[string]*corev1.PersistentVolumeClaim{"p-v": foreign}, nil, 1},
		{"is being deleted", pod(func(p *corev1.Pod) { p.DeletionTimestamp = &now }), nil, nil, 0},
		{"has ended", pod(func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }), nil, nil, 0},
	} {
		create, conflicts := plan(tc.pod, tc.claims)
		if diff := cmp.Diff(tc.create, create); diff != "" || len(conflicts) != tc.conflicts {
			t.Errorf("%s: %v %s", tc.name, conflicts, diff)
		}
	}
	if !concerns(pod(nil)) || concerns(&corev1.Pod{}) {
		t.Error("pods are told apart wrongly")
	}
}
