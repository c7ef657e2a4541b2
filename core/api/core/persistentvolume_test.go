package core

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func volume(change func(*corev1.PersistentVolumeSpec)) *corev1.PersistentVolume {
	v := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{Name: "disk"}, Spec: corev1.PersistentVolumeSpec{
		AccessModes:            []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce, corev1.ReadOnlyMany},
		Capacity:               corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")},
		PersistentVolumeSource: corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{Driver: "csi.example.com", VolumeHandle: "1"}},
	}}
	defaultPersistentVolume(v)
	prepareVolume(v, nil)
	if change != nil {
		change(&v.Spec)
	}
	return v
}

func TestPersistentVolume(t *testing.T) {
	v := volume(func(s *corev1.PersistentVolumeSpec) {
		s.ClaimRef = &corev1.ObjectReference{Namespace: "default", Name: "data"}
	})
	want := []any{"disk", "1Gi", "RWO,ROX", "Retain", "Pending", "default/data", "", "<unset>", "", "<unknown>", "Filesystem"}
	if diff := cmp.Diff(want, PersistentVolumes.Resource().Cells(v)); diff != "" {
		t.Error(diff)
	}
	for _, tc := range []struct {
		name   string
		change func(*corev1.PersistentVolumeSpec)
		want   []string
	}{
		{"good", nil, []string{}},
		{"empty", func(s *corev1.PersistentVolumeSpec) {
			*s = corev1.PersistentVolumeSpec{PersistentVolumeReclaimPolicy: "Odd"}
		}, []string{
			"spec.accessModes: Required value", "spec.capacity: Required value", "spec.persistentVolumeReclaimPolicy: Unsupported value", "spec: Required value",
		}},
		{"two sources", func(s *corev1.PersistentVolumeSpec) {
			s.HostPath = &corev1.HostPathVolumeSource{Path: "/x"}
		}, []string{"spec.csi: Forbidden"}},
		{"csi", func(s *corev1.PersistentVolumeSpec) { s.CSI.VolumeHandle = "" }, []string{"spec.csi.volumeHandle: Required value"}},
		{"local", func(s *corev1.PersistentVolumeSpec) {
			s.PersistentVolumeSource = corev1.PersistentVolumeSource{Local: &corev1.LocalVolumeSource{Path: "/x"}}
		}, []string{"spec.nodeAffinity: Required value"}},
		{"capacity", func(s *corev1.PersistentVolumeSpec) { s.Capacity[corev1.ResourceCPU] = resource.MustParse("1") }, []string{"spec.capacity: Unsupported value"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, refused(validatePersistentVolume(volume(tc.change), nil))); diff != "" {
				t.Error(diff)
			}
		})
	}
	other := volume(func(s *corev1.PersistentVolumeSpec) { s.CSI.VolumeHandle = "2" })
	if diff := cmp.Diff([]string{"spec.persistentvolumesource: Forbidden"}, refused(validatePersistentVolume(other, volume(nil)))); diff != "" {
		t.Error(diff)
	}
}
