package scheduler

import (
	"container/heap"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	helpers "k8s.io/component-helpers/scheduling/corev1"

	"github.com/gantryio/gantry/core/scheduler/snapshot"
)

// auditPeriod is how often pods that fit nowhere are tried without an event that calls for it.
const auditPeriod = 5 * time.Minute

// item is a pod that has no node yet.
type item struct {
	pod      *corev1.Pod
	class    *class
	pin      string // the only node that it may have, "" for any
	priority int32
	number   int64 // counts items as they came
	attempts int
	// notBefore is when its back-off ends: of pods with one priority the others come first.
	notBefore time.Time
	message   string // why it fits nowhere, as was last told
	keys      int64  // what the digest of the pod was made with
	defaults  int64
	queued    time.Time
	heap      *line // where it stands, nil for nowhere
	place     int
}

// line is a heap of items.
type line struct {
	items []*item
	less  func(a, b *item) bool
}

var _ heap.Interface = (*line)(nil)

// byPriority is the order in which pods are placed.
func byPriority(a, b *item) bool {
	switch {
	case a.priority != b.priority:
		return a.priority > b.priority
	case !a.notBefore.Equal(b.notBefore):
		return a.notBefore.Before(b.notBefore)
	}
	return a.number < b.number
}

func byDelay(a, b *item) bool { return a.notBefore.Before(b.notBefore) }

func (l *line) Len() int           { return len(l.items) }
func (l *line) Less(a, b int) bool { return l.less(l.items[a], l.items[b]) }
func (l *line) Swap(a, b int) {
	l.items[a], l.items[b] = l.items[b], l.items[a]
	l.items[a].place, l.items[b].place = a, b
}

// Push implements heap.Interface.
func (l *line) Push(x any) {
	it := x.(*item)
	it.heap, it.place = l, len(l.items)
	l.items = append(l.items, it)
}

// Pop implements heap.Interface.
func (l *line) Pop() any {
	last := len(l.items) - 1
	it := l.items[last]
	l.items[last] = nil
	l.items = l.items[:last]
	it.heap = nil
	return it
}

// queue holds all pods that wait for a node: active ones are to be tried now, delayed ones later, the
// others stand in the waiting list of their class. It is not safe for concurrent use.
type queue struct {
	items   map[types.UID]*item
	came    int64
	active  line
	delayed line
}

func newQueue() *queue {
	return &queue{items: map[types.UID]*item{}, active: line{less: byPriority}, delayed: line{less: byDelay}}
}

// add makes the pod of a class be tried; one that is there already is tried anew.
func (q *queue) add(pod *corev1.Pod, c *class, now time.Time) *item {
	it := q.items[pod.UID]
	if it == nil {
		q.came++
		it = &item{number: q.came, queued: now}
		q.items[pod.UID] = it
	} else {
		q.leave(it)
	}
	it.pod, it.class, it.priority, it.pin = pod, c, helpers.PodPriority(pod), snapshot.Pin(pod)
	q.activate(it)
	return it
}

func (q *queue) activate(it *item) {
	q.leave(it)
	it.class.queued++
	heap.Push(&q.active, it)
}

// leave takes the item out of wherever it stands.
func (q *queue) leave(it *item) {
	if it.heap != nil {
		l := it.heap
		heap.Remove(l, it.place)
		it.class.queued--
	}
	if it.class != nil {
		delete(it.class.waiting, it.pod.UID)
	}
}

// remove forgets a pod.
func (q *queue) remove(uid types.UID) {
	if it := q.items[uid]; it != nil {
		q.leave(it)
		delete(q.items, uid)
	}
}

// pop takes the next item; it stays known until it is removed.
func (q *queue) pop() *item {
	if q.active.Len() == 0 {
		return nil
	}
	it := heap.Pop(&q.active).(*item)
	it.class.queued--
	return it
}

// park leaves the item until an event makes its class fit somewhere.
func (q *queue) park(it *item) { it.class.waiting[it.pod.UID] = it }

// delay leaves the item until its back-off ends.
func (q *queue) delay(it *item) {
	it.class.queued++
	heap.Push(&q.delayed, it)
}

// promote activates the items whose back-off is over and returns when the next one's will be, the zero
// time for never.
func (q *queue) promote(now time.Time) time.Time {
	for q.delayed.Len() > 0 {
		it := q.delayed.items[0]
		if it.notBefore.After(now) {
			return it.notBefore
		}
		q.activate(it)
	}
	return time.Time{}
}
