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
	return enqueue(requests, func(old, now client.Object) (both bool, one client.Object) {
		return relabelled(old, now) || !sameController(old, now), now
	})
}

// EnqueueOwner is [Enqueue] for who owns objects or adopts them. It asks about the old object only who controlled it and does not any more,
// and not at all about an object that nobody owns when an update has left its labels: who would adopt it has been asked before.
func EnqueueOwner(requests handler.MapFunc) handler.EventHandler {
	return enqueue(requests, func(old, now client.Object) (both bool, one client.Object) {
		owned, same := metav1.GetControllerOfNoCopy(now) != nil, sameController(old, now)
		switch {
		case !same && metav1.GetControllerOfNoCopy(old) != nil:
			return true, nil
		case owned || !same || relabelled(old, now):
			return false, now
		}
		return false, nil
	})
}

// EnqueueAny is handler.EnqueueRequestsFromMapFunc for a function that does not go by the object: it is asked once about an update.
func EnqueueAny(requests handler.MapFunc) handler.EventHandler {
	return enqueue(requests, func(_, now client.Object) (both bool, one client.Object) { return false, now })
}

func enqueue(requests handler.MapFunc, about func(old, now client.Object) (both bool, one client.Object)) handler.EventHandler {
	return watched{handler.EnqueueRequestsFromMapFunc(requests), about}
}

// watched asks about both versions of an object that was updated, or about one of them, or about none. It is no handler.Funcs, for
// these look with every event whether an object has what all objects have.
type watched struct {
	handler.EventHandler
	about func(old, now client.Object) (both bool, one client.Object)
}

// Update implements handler.EventHandler.
func (w watched) Update(ctx context.Context, e event.UpdateEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
	if both, one := w.about(e.ObjectOld, e.ObjectNew); both {
		w.EventHandler.Update(ctx, e, q)
	} else if one != nil {
		w.Generic(ctx, event.GenericEvent{Object: one}, q)
	}
}

func relabelled(old, now client.Object) bool { return !maps.Equal(old.GetLabels(), now.GetLabels()) }

func sameController(old, now client.Object) bool {
	a, b := metav1.GetControllerOfNoCopy(old), metav1.GetControllerOfNoCopy(now)
	return a == nil && b == nil || a != nil && b != nil && equality.Semantic.DeepEqual(a, b)
}
