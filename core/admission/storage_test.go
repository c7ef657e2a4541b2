package admission

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gantryio/gantry/core/api"
)

func claimSized(size string, class *string, phase corev1.PersistentVolumeClaimPhase) *corev1.PersistentVolumeClaim {
	return &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: "x", Name: "c"},
		Spec: corev1.PersistentVolumeClaimSpec{
			StorageClassName: class,
			Resources:        corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(size)}},
		},
		Status: corev1.PersistentVolumeClaimStatus{Phase: phase},
	}
}

func TestDefaultStorageClass(t *testing.T) {
	p := DefaultStorageClass{reader(t,
		&storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "usual", Annotations: map[string]string{"storageclass.kubernetes.io/is-default-class": "true"}}},
		&storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "other"}},
	)}
	named := claimSized("1Gi", nil, "")
	named.Annotations = map[string]string{corev1.BetaStorageClassAnnotation: "other"}
	for _, tc := range []struct {
		name  string
		claim *corev1.PersistentVolumeClaim
		op    Operation
		want  *string
	}{
		{"none", claimSized("1Gi", nil, ""), Create, new("usual")},
		{"none is wanted", claimSized("1Gi", new(""), ""), Create, new("")},
		{"another", claimSized("1Gi", new("other"), ""), Create, new("other")},
		{"another by annotation", named, Create, nil},
		{"an update", claimSized("1Gi", nil, ""), Update, nil},
	} {
		refused(t, tc.name, p.Admit(t.Context(), attributes(tc.op, nil, tc.claim, nil)), 0, "")
		if diff := cmp.Diff(tc.want, tc.claim.Spec.StorageClassName); diff != "" {
			t.Errorf("%s: %s", tc.name, diff)
		}
	}
}

func TestClaimResize(t *testing.T) {
	p := ClaimResize{reader(t,
		&storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "grows"}, AllowVolumeExpansion: new(true)},
		&storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: "fixed"}},
	)}
	const fixed = "only dynamically provisioned pvc can be resized"
	for _, tc := range []struct {
		name, size string
		class      *string
		phase      corev1.PersistentVolumeClaimPhase
		code       int32
		part       string
	}{
		{"grows", "2Gi", new("grows"), corev1.ClaimBound, 0, ""},
		{"the same size", "1Gi", nil, corev1.ClaimPending, 0, ""},
		{"not bound", "2Gi", new("grows"), corev1.ClaimPending, 403, "Only bound persistent volume claims can be expanded"},
		{"fixed", "2Gi", new("fixed"), corev1.ClaimBound, 403, fixed},
		{"no class", "2Gi", nil, corev1.ClaimBound, 403, fixed},
		{"an unknown class", "2Gi", new("none"), corev1.ClaimBound, 403, fixed},
	} {
		refused(t, tc.name, p.Validate(t.Context(), attributes(Update, nil, claimSized(tc.size, tc.class, tc.phase), claimSized("1Gi", tc.class, tc.phase))), tc.code, tc.part)
	}
}

func TestStorageProtection(t *testing.T) {
	for _, tc := range []struct {
		obj  api.Object
		want []string
	}{
		{&corev1.PersistentVolumeClaim{}, []string{"kubernetes.io/pvc-protection"}},
		{&corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Finalizers: []string{"kubernetes.io/pvc-protection"}}}, []string{"kubernetes.io/pvc-protection"}},
		{&corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Finalizers: []string{"a/b"}}}, []string{"a/b", "kubernetes.io/pv-protection"}},
		{&storagev1.VolumeAttributesClass{}, []string{"kubernetes.io/vac-protection"}},
		{&storagev1.StorageClass{}, nil},
	} {
		refused(t, "admit", StorageProtection{}.Admit(t.Context(), attributes(Create, nil, tc.obj, nil)), 0, "")
		if diff := cmp.Diff(tc.want, tc.obj.GetFinalizers()); diff != "" {
			t.Errorf("%T: %s", tc.obj, diff)
		}
	}
}
