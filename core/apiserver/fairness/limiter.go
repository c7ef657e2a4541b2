package fairness

import (
	"context"
	"hash/maphash"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"

	"github.com/gantryio/gantry/core/api/flowcontrol"
)

// Limiter lets requests be executed, wait, or be refused. It is safe for concurrent use; [Limiter.Configure] comes first. One
// lock guards all of it: it is held for well under a microsecond, twice a request.
type Limiter struct {
	// Seats is how many requests are executed at a time, those of the exempt level aside; a large list takes several seats.
	Seats int
	// Patience is how long a request waits at most.
	Patience time.Duration

	schemas atomic.Pointer[[]*schema]

	mu     sync.Mutex
	levels []*level
	counts map[pair]*counts
	// lendable is what all levels together lend to each other, lent how much of it is in use, by whomever.
	lendable, lent int
	waiting        int
	inflight       [2]int // reads and writes
}

// Reason tells why a request was refused, in Kubernetes' words.
type Reason string

// The reasons.
const (
	QueueFull        Reason = "queue-full"
	ConcurrencyLimit Reason = "concurrency-limit"
	TimeOut          Reason = "time-out"
	Cancelled        Reason = "cancelled"
)

// Refusal is why a request must not be executed.
type Refusal struct {
	Reason Reason
	// RetryAfter is when it is worth trying again: about when what waits now will have been executed.
	RetryAfter time.Duration
}

// Error implements error.
func (r *Refusal) Error() string { return "refused: " + string(r.Reason) }

// Headers are the values of the headers that tell a client how its request was classified. They are shared and must
// not be changed.
type Headers struct{ Schema, Level []string }

// Ticket is the right to be executed; its zero value does nothing. It is used by one goroutine.
type Ticket struct {
	limiter *Limiter
	schema  *schema
	queue   *queue
	seats   int
	start   time.Time
	watch   bool
	writes  int
}

// Configure makes the limiter follow the objects from now on. Requests that wait go on waiting, those of levels that are gone
// as well. Schemas without a level that exists are ignored; mandatory objects that are missing are imagined.
func (l *Limiter) Configure(have Objects) {
	sources := slices.DeleteFunc(slices.Clone(have.Levels), func(p *flowcontrolv1.PriorityLevelConfiguration) bool { return !sound(p) })
	for _, m := range flowcontrol.MandatoryLevels {
		if _, there := find(sources, m.Name); !there {
			sources = append(sources, m)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	old := l.levels
	l.levels = nil
	for i, to := range share(l.Seats, sources) {
		at := slices.IndexFunc(old, func(x *level) bool { return x.name == sources[i].Name })
		if at < 0 {
			old = append(old, &level{name: sources[i].Name})
			at = len(old) - 1
		}
		lv := old[at]
		lv.uid, lv.gone = string(sources[i].UID), false
		lv.configure(to)
		l.levels = append(l.levels, lv)
	}
	for _, lv := range old {
		if !slices.Contains(l.levels, lv) && !lv.idle() {
			// It drains on what others lend.
			lv.gone, lv.min, lv.max = true, 0, math.MaxInt32
			l.levels = append(l.levels, lv)
		}
	}
	l.lendable, l.lent = 0, 0
	for _, lv := range l.levels {
		if !lv.gone {
			l.lendable += lv.nominal - lv.min
		}
		l.lent += max(0, lv.inUse-lv.min)
	}
	l.compile(have.Schemas)
	l.dispatch()
}

func (l *Limiter) compile(have []*flowcontrolv1.FlowSchema) {
	sources := slices.Clone(have)
	for _, m := range flowcontrol.MandatorySchemas {
		if _, there := find(sources, m.Name); !there {
			sources = append(sources, m)
		}
	}
	slices.SortFunc(sources, byPrecedence)
	var out []*schema
	for _, from := range sources {
		at := slices.IndexFunc(l.levels, func(lv *level) bool { return !lv.gone && lv.name == from.Spec.PriorityLevelConfiguration.Name })
		if at < 0 {
			continue
		}
		s := &schema{name: from.Name, seed: maphash.MakeSeed(), level: l.levels[at], rules: compileRules(from)}
		if m := from.Spec.DistinguisherMethod; m != nil {
			s.byUser = m.Type == flowcontrolv1.FlowDistinguisherMethodByUserType
			s.byNamespace = m.Type == flowcontrolv1.FlowDistinguisherMethodByNamespaceType
		}
		s.headers = Headers{[]string{string(from.UID)}, []string{s.level.uid}}
		s.counts = l.countsOf(pair{s.level.name, s.name})
		out = append(out, s)
	}
	l.schemas.Store(&out)
}

// Enter returns when the request may be executed, with a ticket that its caller leaves in the end, or with a [Refusal]. The headers
// are for the answer in any case.
func (l *Limiter) Enter(ctx context.Context, r *Request) (Ticket, Headers, error) {
	s := classify(*l.schemas.Load(), r)
	t := Ticket{limiter: l, schema: s, watch: r.Verb == "watch"}
	if r.mutating() {
		t.writes = 1
	}
	l.mu.Lock()
	lv := s.level
	t.seats = lv.seatsFor(r.Objects)
	s.counts.wanted.add(t.seats, &seatBounds)
	t.queue = lv.deal(s.flow(r))
	lv.arrive(t.queue)
	if lv.exempt || !r.Crowded && lv.waiting == 0 && l.fits(lv, t.seats) {
		l.start(s, t.queue, t.seats)
		s.counts.waited.add(0)
		l.inflight[t.writes]++
		l.mu.Unlock()
		t.start = time.Now()
		return t, s.headers, nil
	}
	if refusal := l.refuse(s, t.queue, r.Crowded); refusal != nil {
		l.mu.Unlock()
		return Ticket{}, s.headers, refusal
	}
	w := &waiter{ready: make(chan struct{}), seats: t.seats, queue: t.queue, schema: s}
	lv.enqueue(w)
	l.waiting++
	l.dispatch()
	l.mu.Unlock()
	if refusal := l.wait(ctx, w, &t); refusal != nil {
		return Ticket{}, s.headers, refusal
	}
	return t, s.headers, nil
}

// refuse tells whether a request that cannot be executed now must not wait either.
func (l *Limiter) refuse(s *schema, q *queue, crowded bool) *Refusal {
	reason := ConcurrencyLimit
	if q != nil {
		if !crowded && q.length < s.level.length {
			return nil
		}
		reason = QueueFull
	}
	s.level.tallies[rejected]++
	s.counts.rejected[reason]++
	return &Refusal{reason, s.level.drain()}
}

// wait returns once w has been started, with the ticket completed, or why it was not.
func (l *Limiter) wait(ctx context.Context, w *waiter, t *Ticket) *Refusal {
	begun := time.Now()
	patience := time.NewTimer(l.Patience)
	defer patience.Stop()
	var reason Reason
	select {
	case <-w.ready:
	case <-patience.C:
		reason = TimeOut
	case <-ctx.Done():
		reason = Cancelled
	}
	t.start = time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	s := w.schema
	if reason == "" || w.started && reason == TimeOut {
		t.seats = w.seats // they may have become fewer
		s.counts.waited.add(t.start.Sub(begun))
		l.inflight[t.writes]++
		return nil
	}
	if w.started { // for nobody
		l.finish(s, w.queue, w.seats, 0)
		s.counts.dispatched--
	} else {
		s.level.dequeue(w)
		l.waiting--
	}
	s.level.tallies[timedOut]++
	if reason == Cancelled {
		s.level.tallies[cancelled]++
	}
	s.counts.rejected[reason]++
	s.counts.gaveUp.add(t.start.Sub(begun))
	refusal := &Refusal{reason, s.level.drain()}
	l.dispatch() // others may have waited behind it
	return refusal
}

// Leave gives the seats back; further calls do nothing.
func (t *Ticket) Leave() {
	l, s := t.limiter, t.schema
	if l == nil {
		return
	}
	t.limiter = nil
	took := time.Since(t.start)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inflight[t.writes]--
	if t.watch {
		s.counts.watchTook.add(took)
	} else {
		s.counts.took.add(took)
	}
	l.finish(s, t.queue, t.seats, took)
	l.dispatch()
}

// fits tells that the level may use so many seats more.
func (l *Limiter) fits(lv *level, seats int) bool {
	after := lv.inUse + seats
	if after > lv.max {
		return false
	}
	more := max(0, after-lv.min) - max(0, lv.inUse-lv.min)
	if more == 0 {
		return true
	}
	// What a level lends it gets back before others borrow it again.
	return l.lent+more <= l.lendable && (after <= lv.nominal || !l.missed(lv))
}

// missed tells that another level waits for what it has lent.
func (l *Limiter) missed(by *level) bool {
	return l.waiting > 0 && slices.ContainsFunc(l.levels, func(lv *level) bool {
		return lv != by && lv.waiting > 0 && lv.inUse+lv.backlog[0].head.seats <= lv.nominal
	})
}

func (l *Limiter) start(s *schema, q *queue, seats int) {
	lv := s.level
	before := max(0, lv.inUse-lv.min)
	lv.begin(q, seats)
	l.lent += max(0, lv.inUse-lv.min) - before
	s.counts.executing++
	s.counts.seats += seats
	s.counts.dispatched++
}

func (l *Limiter) finish(s *schema, q *queue, seats int, took time.Duration) {
	lv := s.level
	before := max(0, lv.inUse-lv.min)
	lv.end(q, seats, took)
	l.lent += max(0, lv.inUse-lv.min) - before
	s.counts.executing--
	s.counts.seats -= seats
	if lv.gone && lv.idle() {
		l.levels = slices.DeleteFunc(slices.Clone(l.levels), func(x *level) bool { return x == lv })
	}
}

// dispatch starts what waits, as far as there are seats.
func (l *Limiter) dispatch() {
	for l.waiting > 0 {
		lv := l.neediest()
		if lv == nil {
			return
		}
		w := lv.backlog[0].head
		l.start(w.schema, w.queue, w.seats)
		lv.dequeue(w)
		l.waiting--
		w.started = true
		close(w.ready)
	}
}

// neediest is the level in which somebody can be started that uses the least of its seats; nil when there is none.
func (l *Limiter) neediest() *level {
	var best *level
	for _, lv := range l.levels {
		if lv.waiting == 0 || best != nil && lv.inUse*best.nominal >= best.inUse*lv.nominal || !l.fits(lv, lv.backlog[0].head.seats) {
			continue
		}
		best = lv
	}
	return best
}
