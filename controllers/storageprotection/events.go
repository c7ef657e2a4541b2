package storageprotection

import (
	"cmp"
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

type requests = workqueue.TypedRateLimitingInterface[reconcile.Request]

// podEvents looks at the claims of a pod that has stopped using them, or has gone, however it went.
func podEvents(_ context.Context, old, now client.Object, q requests) {
	if old != nil && (now == nil || finished(now.(*corev1.Pod)) && !finished(old.(*corev1.Pod))) {
		freed(cmp.Or(now, old).(*corev1.Pod), q)
	}
}

func freed(pod *corev1.Pod, q requests) {
	for _, name := range claims(pod) {
		q.Add(reconcile.Request{NamespacedName: types.NamespacedName{Namespace: pod.Namespace, Name: name}})
	}
}

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
