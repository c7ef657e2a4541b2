package garbage

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// state is what became of an owner.
type state int

const (
	solid   state = iota // it is there
	waiting              // it is being deleted once its dependents are gone
	absent
)

// plan is what to do about an object with owners: drop or remove or nothing.
type plan struct {
	// drop are the owners whose references are taken off.
	drop []types.UID
	// unblock says that the owners need not wait for the object, which comes before it is removed.
	unblock bool
	remove  metav1.DeletionPropagation
}

// waitsForDependents says whether an object is being deleted in the foreground.
func waitsForDependents(obj *metav1.PartialObjectMetadata) bool {
	return obj.DeletionTimestamp != nil && slices.Contains(obj.Finalizers, metav1.FinalizerDeleteDependents)
}

// decide looks at what became of the object's owners, in the order of its references. One that is solid
// keeps it. Else it is deleted: in the foreground when an owner waits for it and it has dependents of its
// own, otherwise as its finalizers ask for. When one of these is itself being deleted in the foreground the owners
// may be waiting in a circle, which unblocking the object breaks; dependents matter only for an owner that waits.
func decide(obj *metav1.PartialObjectMetadata, owners []state, dependents []*metav1.PartialObjectMetadata) plan {
	if slices.Contains(owners, solid) {
		var p plan
		for i, s := range owners {
			if s != solid {
				p.drop = append(p.drop, obj.OwnerReferences[i].UID)
			}
		}
		return p
	}
	switch {
	case slices.Contains(owners, waiting) && len(dependents) > 0:
		return plan{unblock: slices.ContainsFunc(dependents, waitsForDependents), remove: metav1.DeletePropagationForeground}
	case slices.Contains(obj.Finalizers, metav1.FinalizerOrphanDependents):
		return plan{remove: metav1.DeletePropagationOrphan}
	case slices.Contains(obj.Finalizers, metav1.FinalizerDeleteDependents):
		return plan{remove: metav1.DeletePropagationForeground}
	}
	return plan{remove: metav1.DeletePropagationBackground}
}
