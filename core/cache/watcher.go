package cache

import (
	"context"
	"sync/atomic"
)

// Scope narrows a watch to what the cache can tell apart cheaply; the zero value is everything. At
// most one of Name and Field is used; all that a scope lets through must still be filtered.
type Scope struct {
	Namespace string
	// Name needs Namespace for namespaced kinds.
	Name string
	// Field is one of the kind's indexed fields and Value what it must equal.
	Field, Value string
}

type topic struct{ kind, a, b string }

func (c *Collection) topicOf(s Scope) topic {
	switch {
	case s.Name != "" && (s.Namespace != "" || !c.kind().Namespaced):
		return topic{"name", s.Namespace, s.Name}
	case s.Field != "":
		return topic{"field", s.Field, s.Value}
	case s.Namespace != "":
		return topic{"namespace", s.Namespace, ""}
	}
	return topic{kind: "all"}
}

// queue is the events of one topic: a list that grows at its tail while anybody watches. Each watcher
// holds the node it read last, and what nobody holds is garbage.
type queue struct {
	tail     *node
	watchers map[*Watcher]struct{}
}

type node struct {
	event *Event
	seq   int64
	next  atomic.Pointer[node]
}

// maxLag is how many unread events a watcher may have.
const maxLag = 20_000

// Watcher is a cursor on the events of a scope. It is used by one goroutine.
type Watcher struct {
	col    *Collection
	topic  topic
	start  []*Event
	cursor atomic.Pointer[node]
	woken  chan struct{}
	ctx    context.Context // that Wait was called with last
	stop   func() bool     // waking when it ends
	notify atomic.Pointer[func()]
	cut    atomic.Pointer[error]
	// patient watchers are never cut for being slow.
	patient atomic.Bool
}

// SetPatient keeps the cache from cutting the watcher however far it falls behind. It is for readers in
// this process that are known to read; what they have not read stays in memory.
func (w *Watcher) SetPatient() { w.patient.Store(true) }

// Watch returns a cursor after the given revision; ErrExpired when events since then are forgotten.
// The watcher must be closed.
func (c *Collection) Watch(revision int64, s Scope) (*Watcher, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	past, ok := c.history.since(revision)
	if !ok {
		return nil, ErrExpired
	}
	return c.watchLocked(past, s), nil
}

// SnapshotAndWatch returns the state and a cursor after it.
func (c *Collection) SnapshotAndWatch(s Scope) (*Snapshot, *Watcher) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.snapshotLocked(), c.watchLocked(nil, s)
}

func (c *Collection) watchLocked(past []*Event, s Scope) *Watcher {
	t := c.topicOf(s)
	w := &Watcher{col: c, topic: t, woken: make(chan struct{}, 1)}
	for _, ev := range past {
		if c.concerns(t, ev) {
			w.start = append(w.start, ev)
		}
	}
	q := c.topics[t]
	if q == nil {
		q = &queue{tail: &node{}, watchers: map[*Watcher]struct{}{}}
		c.topics[t] = q
	}
	q.watchers[w] = struct{}{}
	w.cursor.Store(q.tail)
	if len(w.start) > 0 {
		w.woken <- struct{}{}
	}
	return w
}

// Close ends the watch; a Next that waits is not woken, its context is for that.
func (w *Watcher) Close() {
	if w.stop != nil {
		w.stop()
	}
	w.col.mu.Lock()
	defer w.col.mu.Unlock()
	w.col.leave(w)
}

func (c *Collection) leave(w *Watcher) {
	q := c.topics[w.topic]
	if q == nil {
		return
	}
	delete(q.watchers, w)
	if len(q.watchers) == 0 {
		delete(c.topics, w.topic)
	}
}

// Woken receives when Poll may have something, and after Wake.
func (w *Watcher) Woken() <-chan struct{} { return w.woken }

// Notify has f called, now and whenever Wait would return, instead of that, until Notify is called with nil: then Wait returns once
// more. f is called with locks held, by many at a time: it must not wait, nor use the cache.
func (w *Watcher) Notify(f func()) {
	if f == nil {
		w.notify.Store(nil)
	} else {
		w.notify.Store(&f)
	}
	w.Wake()
}

// Wake has Wait return, now or when it is called next. It may be called by any goroutine.
func (w *Watcher) Wake() {
	if f := w.notify.Load(); f != nil {
		(*f)()
		return
	}
	select {
	case w.woken <- struct{}{}:
	default:
	}
}

// Wait waits until Poll may have something, or Wake is called. The error is that of ctx. Calls with the same ctx, one after the other, are
// cheap: the end of ctx wakes the watcher, so that it waits for one thing only.
func (w *Watcher) Wait(ctx context.Context) error {
	if w.ctx != ctx {
		if w.stop != nil {
			w.stop()
		}
		w.ctx, w.stop = ctx, context.AfterFunc(ctx, w.Wake)
	}
	<-w.woken
	return ctx.Err()
}

// Poll appends the events that are there to buf and returns it, at once. The error is final.
func (w *Watcher) Poll(buf []*Event) ([]*Event, error) {
	if err := w.cut.Load(); err != nil {
		return buf, *err
	}
	buf = append(buf, w.start...)
	w.start = nil
	at := w.cursor.Load()
	if at == nil {
		return buf, ErrSlow
	}
	last := at
	for n := at.next.Load(); n != nil; n = n.next.Load() {
		buf = append(buf, n.event)
		last = n
	}
	if last != at && !w.cursor.CompareAndSwap(at, last) {
		return buf, ErrSlow
	}
	return buf, nil
}

// Next waits for events and appends them to buf. The error is final: ErrSlow, or that of ctx.
func (w *Watcher) Next(ctx context.Context, buf []*Event) ([]*Event, error) {
	for {
		if err := w.Wait(ctx); err != nil {
			return buf, err
		}
		out, err := w.Poll(buf)
		if err != nil || len(out) > len(buf) {
			return out, err
		}
	}
}

// wake appends the event to the topics that it concerns.
func (c *Collection) wake(ev *Event) {
	c.send(topic{kind: "all"}, ev)
	obj, kind := ev.Entry.Object, c.kind()
	if kind.Namespaced {
		c.send(topic{"namespace", obj.GetNamespace(), ""}, ev)
	}
	c.send(topic{"name", obj.GetNamespace(), obj.GetName()}, ev)
	for _, f := range kind.Indexed {
		value, _ := kind.Field(obj, f)
		c.send(topic{"field", f, value}, ev)
		if ev.Prev == nil {
			continue
		}
		if before, _ := kind.Field(ev.Prev.Object, f); before != value {
			c.send(topic{"field", f, before}, ev)
		}
	}
}

func (c *Collection) concerns(t topic, ev *Event) bool {
	obj := ev.Entry.Object
	switch t.kind {
	case "namespace":
		return obj.GetNamespace() == t.a
	case "name":
		return obj.GetNamespace() == t.a && obj.GetName() == t.b
	case "field":
		value, _ := c.kind().Field(obj, t.a)
		if value != t.b && ev.Prev != nil {
			value, _ = c.kind().Field(ev.Prev.Object, t.a)
		}
		return value == t.b
	}
	return true
}

func (c *Collection) send(t topic, ev *Event) {
	q := c.topics[t]
	if q == nil {
		return
	}
	n := &node{event: ev, seq: q.tail.seq + 1}
	q.tail.next.Store(n)
	q.tail = n
	for w := range q.watchers {
		if n.seq%1024 == 0 {
			if at := w.cursor.Load(); at == nil || n.seq-at.seq > maxLag && !w.patient.Load() {
				c.cut(w, ErrSlow)
				continue
			}
		}
		w.Wake()
	}
}

// cut ends a watcher from the cache's side and lets go of the events that it has not read.
func (c *Collection) cut(w *Watcher, err error) {
	w.cut.Store(&err)
	w.cursor.Store(nil)
	c.leave(w)
	w.Wake()
}

func (c *Cache) closeTopics() {
	for _, col := range *c.collections.Load() {
		col.close()
	}
}

// close ends all watches.
func (c *Collection) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, q := range c.topics {
		for w := range q.watchers {
			c.cut(w, context.Canceled)
		}
	}
}
