package ephemeralvolume

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/component-helpers/storage/ephemeral"
)

// plan returns the claims that the pod lacks, given those of its namespace by name, and why claims that are there cannot be
// the pod's.
func plan(pod *corev1.Pod, claims map[string]*corev1.PersistentVolumeClaim) (create []*corev1.PersistentVolumeClaim, conflicts []error) {
	if pod.DeletionTimestamp != nil || pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
		return nil, nil
	}
	for i := range pod.Spec.Volumes {
		v := &pod.Spec.Volumes[i]
		if v.Ephemeral == nil || v.Ephemeral.VolumeClaimTemplate == nil {
			continue
		}
		name := ephemeral.VolumeClaimName(pod, v)
		have := claims[name]
		switch {
		case have == nil:
			create = append(create, claimOf(pod, name, v.Ephemeral.VolumeClaimTemplate))
		case ephemeral.VolumeIsForPod(pod, have) != nil:
			conflicts = append(conflicts, fmt.Errorf("ephemeral volume %s: %w", v.Name, ephemeral.VolumeIsForPod(pod, have)))
		}
	}
	return create, conflicts
}

// claimOf is the claim of a pod's volume. It goes with the pod.
func claimOf(pod *corev1.Pod, name string, t *corev1.PersistentVolumeClaimTemplate) *corev1.PersistentVolumeClaim {
	t = t.DeepCopy()
	return &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: pod.Namespace, Name: name, Labels: t.Labels, Annotations: t.Annotations,
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID, Controller: new(true), BlockOwnerDeletion: new(true),
			}},
		},
		Spec: t.Spec,
	}
}

// concerns tells whether the controller has anything to do with a pod.
func concerns(pod *corev1.Pod) bool {
	for i := range pod.Spec.Volumes {
		if pod.Spec.Volumes[i].Ephemeral != nil {
			return true
		}
	}
	return false
}
