package source

import (
	"time"

	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/handler"
)

// behind is q, but what is added to it without a priority waits behind all else; q itself when it knows no priorities.
func behind[R comparable](q Queue[R]) Queue[R] {
	if p, ok := q.(priorityqueue.PriorityQueue[R]); ok {
		return low[R]{p}
	}
	return q
}

// low is a queue for what can wait.
type low[R comparable] struct{ priorityqueue.PriorityQueue[R] }

var _ priorityqueue.PriorityQueue[string] = low[string]{}

// Add implements workqueue.TypedInterface.
func (l low[R]) Add(item R) { l.AddWithOpts(priorityqueue.AddOpts{}, item) }

// AddAfter implements workqueue.TypedDelayingInterface.
func (l low[R]) AddAfter(item R, after time.Duration) {
	l.AddWithOpts(priorityqueue.AddOpts{After: after}, item)
}

// AddRateLimited implements workqueue.TypedRateLimitingInterface.
func (l low[R]) AddRateLimited(item R) {
	l.AddWithOpts(priorityqueue.AddOpts{RateLimited: true}, item)
}

// AddWithOpts implements priorityqueue.PriorityQueue.
func (l low[R]) AddWithOpts(o priorityqueue.AddOpts, items ...R) {
	if o.Priority == nil {
		o.Priority = new(handler.LowPriority)
	}
	l.PriorityQueue.AddWithOpts(o, items...)
}
