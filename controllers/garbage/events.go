package garbage

import (
	"context"
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
)

type queue = workqueue.TypedRateLimitingInterface[item]

// events queue what a change concerns: the object itself when its owners or its deletion are to be looked
// at, its dependents when it is gone or waits for them, its owners when it was what they waited for.
func (c *Controller) events(gvk schema.GroupVersionKind) handler.TypedEventHandler[client.Object, item] {
	self := func(o client.Object) item { return item{gvk, client.ObjectKeyFromObject(o), o.GetUID()} }
	return handler.TypedFuncs[client.Object, item]{
		CreateFunc: func(_ context.Context, e event.CreateEvent, q queue) {
			if len(e.Object.GetOwnerReferences()) > 0 || finalizing(e.Object) {
				q.Add(self(e.Object))
			}
		},
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q queue) {
			refs := !equality.Semantic.DeepEqual(e.ObjectOld.GetOwnerReferences(), e.ObjectNew.GetOwnerReferences())
			if refs || finalizing(e.ObjectNew) {
				q.Add(self(e.ObjectNew))
			}
			if refs {
				queueOwners(e.ObjectOld, q)
			}
		},
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q queue) {
			queueOwners(e.Object, q)
			gone := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: e.Object.GetNamespace(), UID: e.Object.GetUID()}}
			dependents, err := c.dependents(ctx, c.cached, gone, false)
			if err != nil {
				return
			}
			for _, d := range dependents {
				q.Add(d.item)
			}
		},
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
