package owner

import (
	"context"
	"maps"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// Enqueue is handler.EnqueueRequestsFromMapFunc for a function that goes by an object's labels and controller alone. Of an update
// that leaves both, as most do, it asks about the new object and not about the old one as well.
func Enqueue(requests handler.MapFunc) handler.EventHandler {
	return enqueue(requests, func(client.Object) bool { return true })
}

// EnqueueOwner is [Enqueue] for who owns objects or adopts them: an update that leaves labels and controller of an object that nobody
// owns is no reason to look for who would adopt it.
func EnqueueOwner(requests handler.MapFunc) handler.EventHandler {
	return enqueue(requests, func(o client.Object) bool { return metav1.GetControllerOfNoCopy(o) != nil })
}

// enqueue asks about an object that has not moved if it is concerned.
func enqueue(requests handler.MapFunc, concerned func(client.Object) bool) handler.EventHandler {
	all := handler.EnqueueRequestsFromMapFunc(requests)
	return handler.Funcs{
		CreateFunc: all.Create, DeleteFunc: all.Delete, GenericFunc: all.Generic,
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			switch {
			case moved(e.ObjectOld, e.ObjectNew):
				all.Update(ctx, e, q)
			case concerned(e.ObjectNew):
				all.Generic(ctx, event.GenericEvent{Object: e.ObjectNew}, q)
			}
		},
	}
}

func moved(old, now client.Object) bool {
	return !maps.Equal(old.GetLabels(), now.GetLabels()) ||
		!equality.Semantic.DeepEqual(metav1.GetControllerOfNoCopy(old), metav1.GetControllerOfNoCopy(now))
}
