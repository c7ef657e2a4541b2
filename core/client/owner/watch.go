package owner

import (
	"context"
	"maps"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/gantryio/gantry/core/client/source"
)

// Func hears events and queues what they concern.
type Func = source.Func[reconcile.Request]

type queue = source.Queue[reconcile.Request]

// Enqueue queues what a function finds that goes by an object's labels and controller alone. It asks about both versions of an object that
// was updated only when one of these has changed, which is seldom, and about the new one otherwise.
func Enqueue(requests handler.MapFunc) Func {
	return func(ctx context.Context, old, now client.Object, q queue) {
		if old != nil && now != nil && !relabelled(old, now) && sameController(old, now) {
			old = nil
		}
		ask(ctx, requests, old, now, q)
	}
}

// EnqueueOwner is [Enqueue] for who owns objects or adopts them. It asks about the old object only who controlled it and does not any more,
// and not at all about an object that nobody owns when an update has left its labels: who would adopt it has been asked before.
func EnqueueOwner(requests handler.MapFunc) Func {
	return func(ctx context.Context, old, now client.Object, q queue) {
		if old != nil && now != nil {
			was, is := metav1.GetControllerOfNoCopy(old), metav1.GetControllerOfNoCopy(now)
			switch same := sameRef(was, is); {
			case !same && was != nil:
			case is == nil && same && !relabelled(old, now):
				return
			default:
				old = nil
			}
		}
		ask(ctx, requests, old, now, q)
	}
}

// EnqueueAny is [Enqueue] for a function that does not go by the object, or whose word on a former version is worth nothing: it is asked once
// about an update.
func EnqueueAny(requests handler.MapFunc) Func {
	return func(ctx context.Context, old, now client.Object, q queue) {
		if now != nil {
			old = nil
		}
		ask(ctx, requests, old, now, q)
	}
}

// ask queues, once each, what is found for the objects that are not nil.
func ask(ctx context.Context, requests handler.MapFunc, old, now client.Object, q queue) {
	var found []reconcile.Request
	if old != nil {
		found = requests(ctx, old)
	}
	if now != nil {
		found = append(found, requests(ctx, now)...)
	}
	if len(found) < 2 {
		for _, req := range found {
			q.Add(req)
		}
		return
	}
	had := make(map[reconcile.Request]struct{}, len(found))
	for _, req := range found {
		if _, again := had[req]; !again {
			had[req] = struct{}{}
			q.Add(req)
		}
	}
}

// None tells, at once, that there is nothing of a list's kind in a namespace, nor anywhere with "". False means that one has to look, as
// it always does of a reader that cannot tell. It is for who hears of that kind, too, and asks what an event of another kind concerns: what
// has been written and is not known yet comes with an event of its own, after which all is looked at, so there is nothing to wait for.
func None(r client.Reader, of client.ObjectList, namespace string) bool {
	teller, ok := r.(interface {
		None(of client.ObjectList, namespace string) bool
	})
	return ok && teller.None(of, namespace)
}

// Find lists a namespace, all of them with "", unless there is [None], and tells whether it has. One that fails counts as nothing: who
// hears an event has nobody to tell.
func Find(ctx context.Context, r client.Reader, list client.ObjectList, namespace string) bool {
	return !None(r, list, namespace) && r.List(ctx, list, client.InNamespace(namespace)) == nil
}

// NoneBy is [None] for what an index has under a value.
func NoneBy(r client.Reader, of client.ObjectList, index, value string) bool {
	teller, ok := r.(interface {
		NoneBy(of client.ObjectList, index, value string) bool
	})
	return ok && teller.NoneBy(of, index, value)
}

func relabelled(old, now client.Object) bool { return !maps.Equal(old.GetLabels(), now.GetLabels()) }

func sameController(old, now client.Object) bool {
	return sameRef(metav1.GetControllerOfNoCopy(old), metav1.GetControllerOfNoCopy(now))
}

// sameRef compares two references of controllers field by field, which is done with every update of a pod.
func sameRef(a, b *metav1.OwnerReference) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.UID == b.UID && a.Name == b.Name && a.Kind == b.Kind && a.APIVersion == b.APIVersion && ptr.Equal(a.BlockOwnerDeletion, b.BlockOwnerDeletion)
}
