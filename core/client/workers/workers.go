// Package workers says how the controllers work off what they are told: how many at once, how soon again
// after a failure, and through which queue.
package workers

import (
	"time"

	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// A failed item is tried again after firstRetry, and after twice as long with each further failure up to lastRetry:
// most failures are a conflict with a write that the cache shows a moment later.
const (
	firstRetry = 5 * time.Millisecond
	lastRetry  = 30 * time.Second
)

// Options are those of a controller that reconciles n objects at once.
func Options(n int) controller.Options { return TypedOptions[reconcile.Request](n) }

// TypedOptions are Options of a controller whose items are other than requests. Each call makes a rate limiter of
// its own, so two controllers must not share the result.
func TypedOptions[T comparable](n int) controller.TypedOptions[T] {
	return controller.TypedOptions[T]{
		MaxConcurrentReconciles: n,
		RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[T](firstRetry, lastRetry),
		NewQueue:                newQueue[T],
	}
}

// newQueue makes the queue that a controller would have anyway, but without a name and so without the library's metrics, which [Metrics]
// replaces.
func newQueue[T comparable](name string, limiter workqueue.TypedRateLimiter[T]) workqueue.TypedRateLimitingInterface[T] {
	return newCounted(Metrics, name, priorityqueue.New("", func(o *priorityqueue.Opts[T]) { o.RateLimiter = limiter }))
}
