package resourcequota

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/gantryio/gantry/core/api/quota"
	"github.com/gantryio/gantry/core/client/source"
)

type requests = source.Queue[reconcile.Request]

// respecified leaves out the charges, of which there is one for each object that is let in.
func respecified() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		now := e.ObjectNew.(*corev1.ResourceQuota)
		return !equality.Semantic.DeepEqual(now.Spec.Hard, now.Status.Hard)
	}}
}

// events counts again when an object has gone, or uses less than before.
func (c *Controller) events(gr schema.GroupResource) source.Func[reconcile.Request] {
	return func(ctx context.Context, old, now client.Object, q requests) {
		if old != nil && (now == nil || lessens(old, now)) {
			c.enqueue(ctx, gr, old.GetNamespace(), q)
		}
	}
}

// lessens tells whether a change can make an object use less, or be counted elsewhere.
func lessens(old, now client.Object) bool {
	switch now := now.(type) {
	case *corev1.Pod:
		was := old.(*corev1.Pod)
		return quota.Ended(was, now) || was.Generation != now.Generation || quota.Resized(was, now)
	case *corev1.Service:
		was := old.(*corev1.Service)
		return was.Spec.Type != now.Spec.Type || len(was.Spec.Ports) != len(now.Spec.Ports)
	case *corev1.PersistentVolumeClaim:
		return old.GetResourceVersion() != now.GetResourceVersion()
	}
	return false
}

func (c *Controller) enqueue(ctx context.Context, gr schema.GroupResource, namespace string, q requests) {
	var list corev1.ResourceQuotaList
	if err := c.Client.List(ctx, &list, client.InNamespace(namespace)); err != nil {
		return
	}
	for i := range list.Items {
		if counts(&list.Items[i], gr) {
			q.Add(reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
		}
	}
}
