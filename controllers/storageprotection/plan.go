package storageprotection

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/component-helpers/storage/ephemeral"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// The finalizers; kubernetes.io/docs names them.
const (
	claimFinalizer  = "kubernetes.io/pvc-protection"
	volumeFinalizer = "kubernetes.io/pv-protection"
	classFinalizer  = "kubernetes.io/vac-protection"
)

// plan returns the finalizers that the object should have: its own is there until it is being deleted and not in use.
func plan(obj client.Object, finalizer string, used bool) (finalizers []string, changed bool) {
	had := obj.GetFinalizers()
	has := slices.Contains(had, finalizer)
	switch deleted := obj.GetDeletionTimestamp() != nil; {
	case deleted && has && !used:
		return slices.DeleteFunc(slices.Clone(had), func(f string) bool { return f == finalizer }), true
	case !deleted && !has:
		return append(slices.Clone(had), finalizer), true
	}
	return had, false
}

// usesClaim tells whether a pod keeps a claim. One that has no node does not: it will not be given one with a claim that is
// being deleted.
func usesClaim(pod *corev1.Pod, claim *corev1.PersistentVolumeClaim) bool {
	return pod.Spec.NodeName != "" && !finished(pod) && slices.Contains(claims(pod), claim.Name)
}

func finished(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

// claims are the names of the claims of a pod.
func claims(pod *corev1.Pod) []string {
	var out []string
	for i := range pod.Spec.Volumes {
		switch v := &pod.Spec.Volumes[i]; {
		case v.PersistentVolumeClaim != nil:
			out = append(out, v.PersistentVolumeClaim.ClaimName)
		case v.Ephemeral != nil:
			out = append(out, ephemeral.VolumeClaimName(pod, v))
		}
	}
	return out
}

// usesClass tells whether a claim or volume has, had or is to have the attributes of a class.
func usesClass(o client.Object, class *storagev1.VolumeAttributesClass) bool {
	return slices.Contains(classesOf(o), class.Name)
}

func classesOf(o client.Object) []string {
	var out []string
	add := func(name *string) {
		if name != nil && *name != "" {
			out = append(out, *name)
		}
	}
	switch o := o.(type) {
	case *corev1.PersistentVolume:
		add(o.Spec.VolumeAttributesClassName)
	case *corev1.PersistentVolumeClaim:
		add(o.Spec.VolumeAttributesClassName)
		add(o.Status.CurrentVolumeAttributesClassName)
		if m := o.Status.ModifyVolumeStatus; m != nil {
			add(&m.TargetVolumeAttributesClassName)
		}
	}
	return out
}
