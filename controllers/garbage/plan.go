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

// plan is what to do about an object with owners: one of the two or nothing.
type plan struct {
	// drop are the owners whose references are taken off.
	drop   []types.UID
	remove metav1.DeletionPropagation
}

// decide looks at what became of the object's owners, in the order of its references. One that is solid
// keeps it. Else it is deleted: in the foreground when an owner waits for it and it has dependents of its
// own, otherwise as its finalizers ask for.
func decide(obj *metav1.PartialObjectMetadata, owners []state, hasDependents bool) plan {
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
	case slices.Contains(owners, waiting) && hasDependents:
		return plan{remove: metav1.DeletePropagationForeground}
	case slices.Contains(obj.Finalizers, metav1.FinalizerOrphanDependents):
		return plan{remove: metav1.DeletePropagationOrphan}
	case slices.Contains(obj.Finalizers, metav1.FinalizerDeleteDependents):
		return plan{remove: metav1.DeletePropagationForeground}
	}
	return plan{remove: metav1.DeletePropagationBackground}
}
