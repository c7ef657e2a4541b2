package statefulset

import (
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

var podKind = corev1.SchemeGroupVersion.WithKind("Pod")

// claims are the set's claims by name, as far as they exist.
type claims map[string]*corev1.PersistentVolumeClaim

// stale tells that a claim goes with a former pod of this name and must be gone before the next comes.
func stale(claim *corev1.PersistentVolumeClaim, pod *corev1.Pod) bool {
	return slices.ContainsFunc(claim.OwnerReferences, func(ref metav1.OwnerReference) bool {
		return ref.Kind == "Pod" && ref.APIVersion == "v1" && ref.Name == pod.Name && ref.UID != pod.UID
	})
}

// retain returns the claim with the owners that the retention policy asks for, nil when it has them. A
// claim that somebody else controls is left alone.
func retain(set *appsv1.StatefulSet, pod *corev1.Pod, claim *corev1.PersistentVolumeClaim) *corev1.PersistentVolumeClaim {
	if ref := metav1.GetControllerOfNoCopy(claim); ref != nil && ref.UID != set.UID && (ref.Kind != "Pod" || ref.Name != pod.Name) {
		return nil
	}
	out := claim.DeepCopy()
	bySet, byPod := ownership(set, ordinalOf(set, pod.Name))
	own(out, set, kind, bySet)
	own(out, pod, podKind, byPod)
	if equality.Semantic.DeepEqual(claim.OwnerReferences, out.OwnerReferences) {
		return nil
	}
	return out
}

// ownership tells whether the claims of a pod go with the set and whether they go with the pod.
func ownership(set *appsv1.StatefulSet, ordinal int) (bySet, byPod bool) {
	r := set.Spec.PersistentVolumeClaimRetentionPolicy
	if r == nil {
		return false, false
	}
	byPod = r.WhenScaled == appsv1.DeletePersistentVolumeClaimRetentionPolicyType && !inRange(set, ordinal)
	return r.WhenDeleted == appsv1.DeletePersistentVolumeClaimRetentionPolicyType && !byPod, byPod
}

// own makes owner the claim's controller or takes it out of its owners.
func own(claim *corev1.PersistentVolumeClaim, owner client.Object, kind schema.GroupVersionKind, want bool) {
	same := func(ref metav1.OwnerReference) bool {
		return ref.Kind == kind.Kind && ref.APIVersion == kind.GroupVersion().String() && ref.Name == owner.GetName()
	}
	has := slices.ContainsFunc(claim.OwnerReferences, func(ref metav1.OwnerReference) bool { return same(ref) && ref.UID == owner.GetUID() })
	if has && want {
		return
	}
	claim.OwnerReferences = slices.DeleteFunc(claim.OwnerReferences, same)
	if want {
		claim.OwnerReferences = append(claim.OwnerReferences, *metav1.NewControllerRef(owner, kind))
	}
}
