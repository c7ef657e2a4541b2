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

// EnqueueAny is handler.EnqueueRequestsFromMapFunc for a function that does not go by the object: it is asked once about an update.
func EnqueueAny(requests handler.MapFunc) handler.EventHandler {
	return watched{handler.EnqueueRequestsFromMapFunc(requests), func(_, _ client.Object) bool { return false }, func(client.Object) bool { return true }}
}

// enqueue asks about an object that has not moved if it is concerned.
func enqueue(requests handler.MapFunc, concerned func(client.Object) bool) handler.EventHandler {
	return watched{handler.EnqueueRequestsFromMapFunc(requests), moved, concerned}
}

// watched asks about both versions of an object that has moved, and about others only if they are concerned. It is no handler.Funcs, for
// these look with every event whether an object has what all objects have.
type watched struct {
	handler.EventHandler
	moved     func(old, now client.Object) bool
	concerned func(client.Object) bool
}

// Update implements handler.EventHandler.
func (w watched) Update(ctx context.Context, e event.UpdateEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
	switch {
	case w.moved(e.ObjectOld, e.ObjectNew):
		w.EventHandler.Update(ctx, e, q)
	case w.concerned(e.ObjectNew):
		w.Generic(ctx, event.GenericEvent{Object: e.ObjectNew}, q)
	}
}

func moved(old, now client.Object) bool {
	return !maps.Equal(old.GetLabels(), now.GetLabels()) ||
		!equality.Semantic.DeepEqual(metav1.GetControllerOfNoCopy(old), metav1.GetControllerOfNoCopy(now))
}
