package storageprotection

import (
	"context"
	"slices"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

type requests = workqueue.TypedRateLimitingInterface[reconcile.Request]

// released looks at the classes that a claim or volume has no longer.
func released(_ context.Context, e event.TypedUpdateEvent[client.Object], q requests) {
	now := classesOf(e.ObjectNew)
	for _, name := range classesOf(e.ObjectOld) {
		if !slices.Contains(now, name) {
			q.Add(reconcile.Request{NamespacedName: types.NamespacedName{Name: name}})
		}
	}
}

func gone(_ context.Context, e event.TypedDeleteEvent[client.Object], q requests) {
	for _, name := range classesOf(e.Object) {
		q.Add(reconcile.Request{NamespacedName: types.NamespacedName{Name: name}})
	}
}
