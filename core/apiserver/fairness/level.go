package fairness

import (
	"container/heap"
	"time"

	"k8s.io/apiserver/pkg/util/shufflesharding"
)

// guess is how long a request is thought to take until it is known, in seat-microseconds.
const guess = 1000

// level is a priority level at work. The limiter's lock is for everything in it.
type level struct {
	name string
	uid  string
	limits
	// gone: its object was deleted, and it is only kept for the requests that it has.
	gone bool

	inUse        int // seats
	executing    int
	waiting      int
	waitingSeats int
	dealer       *shufflesharding.Dealer
	queues       []*queue // made when they are needed
	backlog      backlog
	// served is the start tag of the latest request that was executed: the level's virtual time, in seat-microseconds. An int64
	// lasts for centuries of a server that is never idle.
	served  int64
	took    time.Duration // what requests have taken lately, for each seat
	tallies [5]int        // of the level's whole life: dispatched, rejected, timed out, cancelled, enqueued
}

const (
	dispatched = iota
	rejected
	timedOut
	cancelled
	enqueued
)

// queue is a part of the flows of a level.
type queue struct {
	index int
	// next is the start tag of the request that is executed next.
	next       int64
	head, tail *waiter
	length     int
	work       int // seats of those that wait
	executing  int
	inUse      int
	place      int // in the backlog, if anybody waits
}

// waiter is a request in a queue.
type waiter struct {
	ready      chan struct{}
	started    bool
	seats      int
	arrived    int64 // the level's virtual time then
	queue      *queue
	schema     *schema
	prev, next *waiter
}

func newDealer(queues, hand int) *shufflesharding.Dealer {
	d, err := shufflesharding.NewDealer(queues, hand)
	if err != nil {
		return nil
	}
	return d
}

// configure gives the level other limits; requests that wait go on waiting in the queues where they are.
func (l *level) configure(to limits) {
	if to.queues != len(l.queues) || to.hand != l.hand {
		have := l.queues
		l.queues, l.dealer = make([]*queue, to.queues), newDealer(to.queues, to.hand)
		copy(l.queues, have)
	}
	l.limits = to
	for _, q := range l.backlog {
		for w := q.head; w != nil; w = w.next {
			if over := w.seats - to.widest; over > 0 {
				w.seats -= over
				q.work -= over
				l.waitingSeats -= over
				w.schema.counts.waitingSeats -= over
			}
		}
	}
}

// deal picks the queue of the flow's hand in which least waits; nil when the level has none.
func (l *level) deal(flow uint64) *queue {
	if l.dealer == nil {
		return nil
	}
	var cards [16]int // a hand has at most 15
	var best *queue
	for _, i := range l.dealer.DealIntoHand(flow, cards[:]) {
		q := l.queues[i]
		if q == nil {
			q = &queue{index: i}
			l.queues[i] = q
		}
		if best == nil || q.work < best.work || q.work == best.work && q.next < best.next {
			best = q
		}
	}
	return best
}

// begin counts a request that is executed from q, which may be nil.
func (l *level) begin(q *queue, seats int) {
	l.inUse += seats
	l.executing++
	l.tallies[dispatched]++
	if q == nil {
		return
	}
	q.executing++
	q.inUse += seats
	l.served = max(l.served, q.next)
	q.next += int64(seats) * guess
}

// end takes back what begin has counted, and charges the queue for what the request has really taken.
func (l *level) end(q *queue, seats int, took time.Duration) {
	l.inUse -= seats
	l.executing--
	l.took += (took/time.Duration(seats) - l.took) / 16
	if q == nil {
		return
	}
	q.executing--
	q.inUse -= seats
	q.next += int64(seats) * (took.Microseconds() - guess)
	q.bound()
	if q.head != nil {
		l.fix(q)
	}
}

// fix puts a queue whose tag has changed where it belongs.
func (l *level) fix(q *queue) { heap.Fix(&l.backlog, q.place) }

// arrive readies a queue for a request: one that nobody waited in has saved up nothing.
func (l *level) arrive(q *queue) {
	if q != nil && q.head == nil {
		q.next = max(q.next, l.served)
	}
}

// bound keeps a queue whose requests were quicker than thought from having saved up time of before the next one came.
func (q *queue) bound() {
	if q.head != nil {
		q.next = max(q.next, q.head.arrived)
	}
}

func (l *level) enqueue(w *waiter) {
	q := w.queue
	w.arrived, w.prev = l.served, q.tail
	if q.tail == nil {
		q.head = w
		heap.Push(&l.backlog, q)
	} else {
		q.tail.next = w
	}
	q.tail = w
	q.length++
	q.work += w.seats
	l.waiting++
	l.waitingSeats += w.seats
	l.tallies[enqueued]++
	w.schema.counts.wait(w, 1)
	w.schema.counts.queued.add(q.length, &queueBounds)
}

func (l *level) dequeue(w *waiter) {
	q := w.queue
	if w.prev == nil {
		q.head = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		q.tail = w.prev
	} else {
		w.next.prev = w.prev
	}
	w.prev, w.next = nil, nil
	q.length--
	q.work -= w.seats
	l.waiting--
	l.waitingSeats -= w.seats
	w.schema.counts.wait(w, -1)
	if q.head == nil {
		heap.Remove(&l.backlog, q.place)
	} else {
		q.bound()
		l.fix(q)
	}
}

// idle tells that the level has no requests.
func (l *level) idle() bool { return l.waiting == 0 && l.executing == 0 }

// drain is how long what waits will take, about.
func (l *level) drain() time.Duration {
	return l.took * time.Duration(l.waitingSeats) / time.Duration(max(1, l.inUse))
}

// backlog is the heap of the queues in which somebody waits, by what they have had.
type backlog []*queue

func (b backlog) Len() int           { return len(b) }
func (b backlog) Less(i, j int) bool { return b[i].next < b[j].next }

func (b backlog) Swap(i, j int) {
	b[i], b[j] = b[j], b[i]
	b[i].place, b[j].place = i, j
}

// Push implements heap.Interface.
func (b *backlog) Push(x any) {
	q := x.(*queue)
	q.place = len(*b)
	*b = append(*b, q)
}

// Pop implements heap.Interface.
func (b *backlog) Pop() any {
	last := len(*b) - 1
	q := (*b)[last]
	(*b)[last] = nil
	*b = (*b)[:last]
	return q
}
