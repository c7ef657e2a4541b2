package garbage

import (
	"context"
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gantryio/gantry/core/client/source"
)

type queue = source.Queue[item]

// events queue what a change concerns: the object itself when its owners or its deletion are to be looked
// at, its dependents when it is gone or waits for them, its owners when it was what they waited for.
func (c *Controller) events(gvk schema.GroupVersionKind) source.Func[item] {
	return func(ctx context.Context, old, now client.Object, q queue) {
		if now == nil {
			c.gone(ctx, old, q)
			return
		}
		var before []metav1.OwnerReference
		if old != nil {
			before = old.GetOwnerReferences()
		}
		refs := !sameRefs(before, now.GetOwnerReferences())
		if refs || finalizing(now) {
			q.Add(item{gvk, client.ObjectKeyFromObject(now), now.GetUID()})
		}
		if refs && old != nil {
			queueOwners(old, q)
		}
	}
}

// sameRefs spares most objects, which have no owner, the comparison by reflection.
func sameRefs(a, b []metav1.OwnerReference) bool {
	return len(a) == 0 && len(b) == 0 || equality.Semantic.DeepEqual(a, b)
}

// gone queues the owners that may have waited for an object that is gone, and its dependents.
func (c *Controller) gone(ctx context.Context, o client.Object, q queue) {
	queueOwners(o, q)
	owner := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: o.GetNamespace(), UID: o.GetUID()}}
	dependents, err := c.dependents(ctx, c.cached, owner, false)
	if err != nil {
		return
	}
	for _, d := range dependents {
		q.Add(d.item)
	}
}

func finalizing(o client.Object) bool {
	return o.GetDeletionTimestamp() != nil && slices.ContainsFunc(o.GetFinalizers(), func(f string) bool {
		return f == metav1.FinalizerOrphanDependents || f == metav1.FinalizerDeleteDependents
	})
}

// queueOwners queues the owners that may have waited for o. One that is not being deleted costs a lookup.
func queueOwners(o client.Object, q queue) {
	for _, ref := range o.GetOwnerReferences() {
		if ref.BlockOwnerDeletion == nil || !*ref.BlockOwnerDeletion {
			continue
		}
		gvk := schema.FromAPIVersionAndKind(ref.APIVersion, ref.Kind)
		for _, namespace := range slices.Compact([]string{o.GetNamespace(), ""}) {
			q.Add(item{gvk, types.NamespacedName{Namespace: namespace, Name: ref.Name}, ref.UID})
		}
	}
}
