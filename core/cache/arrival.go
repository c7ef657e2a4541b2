package cache

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"slices"

	"github.com/gantryio/gantry/core/store"
)

// arrival is an event from the store that is about to be taken up.
type arrival struct {
	col      *Collection
	key      string
	revision int64
	entry    *Entry // nil for a deletion
	met      []*Expectation
	decoded  bool // it was not expected
}

// meet returns what an event is about, and false when it is not to be taken up.
func (c *Cache) meet(e store.Event) (arrival, bool) {
	a := arrival{col: c.owner(e.Key), key: e.Key, revision: e.Revision}
	if a.col == nil || e.Revision <= a.col.loaded {
		return a, false
	}
	if e.Deleted {
		return a, true
	}
	a.met = c.expected.take(e.Key, e.Value)
	a.entry = &Entry{Key: e.Key, Revision: e.Revision}
	if len(a.met) > 0 {
		a.entry.Object = a.met[0].obj
	}
	return a, true
}

// decode reads the object, unless it is one that was expected, and returns false when it cannot be read. It may be called for several
// arrivals at the same time.
func (a *arrival) decode(value []byte) bool {
	if a.entry == nil || a.entry.Object != nil {
		return true
	}
	obj, former, err := a.col.kind().DecodeStored(value)
	if err != nil {
		// One object that cannot be read must not take the others with it.
		slog.Error("cannot decode a stored object", "key", a.key, "revision", a.revision, "err", err)
		return false
	}
	a.entry.Object, a.entry.Former, a.decoded = obj, former, true
	return true
}

// join finds the object its place in memory and gives it its revision.
func (a *arrival) join() {
	if a.entry == nil {
		return
	}
	if a.decoded {
		a.col.join(a.entry)
	}
	a.entry.Object.SetResourceVersion(formatRevision(a.revision))
}

// settle puts what has arrived where readers and watchers see it, and tells who waits for it.
func (a *arrival) settle() {
	if a.entry == nil {
		a.col.remove(a.key, a.revision)
		return
	}
	a.col.put(a.entry)
	a.tell()
}

// tell tells who waits for it.
func (a *arrival) tell() {
	for _, x := range a.met {
		x.done <- a.entry
	}
}

// load replaces the content by that of the store. Entries whose revision is unchanged are kept.
func (c *Cache) load(ctx context.Context) error {
	c.applying.Lock()
	defer c.applying.Unlock()
	held := map[*Collection]map[string]bool{} // what is still there of those that hold anything
	for _, col := range *c.collections.Load() {
		if !col.untouched() {
			held[col] = map[string]bool{}
		}
	}
	changed := newDecoding()
	revision, err := c.store.List(ctx, store.Root, func(kv store.KV) error {
		col := c.owner(kv.Key)
		if col == nil {
			return nil
		}
		if found := held[col]; found != nil {
			found[kv.Key] = true
			if have := col.Get(kv.Key); have != nil && have.Revision == kv.Revision {
				return nil
			}
		}
		if a, ok := c.meet(store.Event{KV: kv}); ok {
			changed.add(a, kv.Value)
		}
		return nil
	})
	arrived := changed.all()
	if err != nil {
		return fmt.Errorf("load the cache: %w", err)
	}
	for col, found := range held {
		// What happened before is not known in full: a watch may go on from here on only.
		col.forget(revision)
		for _, e := range col.Snapshot().All() {
			if !found[e.Key] {
				arrived = append(arrived, arrival{col: col, key: e.Key, revision: revision - 1})
			}
		}
	}
	c.take(arrived, held, revision)
	c.advance(revision)
	return nil
}

// take puts what has arrived in its place: at once where nobody looks yet, and event by event, in their order, where somebody does.
func (c *Cache) take(arrived []arrival, held map[*Collection]map[string]bool, revision int64) {
	var events []*arrival
	first := map[*Collection][]*arrival{}
	for i := range arrived {
		if a := &arrived[i]; held[a.col] == nil {
			first[a.col] = append(first[a.col], a)
		} else {
			events = append(events, a)
		}
	}
	for _, col := range *c.collections.Load() {
		if held[col] == nil && !col.fill(first[col], revision) {
			events = append(events, first[col]...)
		}
	}
	slices.SortStableFunc(events, func(a, b *arrival) int { return cmp.Compare(a.revision, b.revision) })
	for _, a := range events {
		a.settle()
	}
}

// decoding decodes what is added on several goroutines while more is being read. What is stored is not kept until all of it has
// been read, for that would take as much memory as what it becomes.
type decoding struct {
	filling *batch
	running chan *batch // in the order in which they were added; full when enough are decoded at the same time
	done    chan []arrival
}

const batchSize = 128

// batch is what one goroutine decodes.
type batch struct {
	arrivals []arrival
	values   [][]byte
	readable []bool
	done     chan struct{}
}

func (b *batch) decode() {
	for i := range b.arrivals {
		b.readable[i] = b.arrivals[i].decode(b.values[i])
	}
	b.values = nil
	close(b.done)
}

// newDecoding begins; all must be called.
func newDecoding() *decoding {
	d := &decoding{running: make(chan *batch, runtime.GOMAXPROCS(0)), done: make(chan []arrival, 1)}
	go func() {
		var out []arrival
		for b := range d.running {
			<-b.done
			for i := range b.arrivals {
				if b.readable[i] {
					b.arrivals[i].join()
					out = append(out, b.arrivals[i])
				}
			}
		}
		d.done <- out
	}()
	return d
}

func (d *decoding) add(a arrival, value []byte) {
	if d.filling == nil {
		d.filling = &batch{done: make(chan struct{}), arrivals: make([]arrival, 0, batchSize), values: make([][]byte, 0, batchSize)}
	}
	b := d.filling
	b.arrivals, b.values = append(b.arrivals, a), append(b.values, value)
	if len(b.arrivals) == batchSize {
		d.start()
	}
}

func (d *decoding) start() {
	b := d.filling
	d.filling = nil
	b.readable = make([]bool, len(b.arrivals))
	d.running <- b
	go b.decode()
}

// all returns what could be decoded, in the order in which it was added.
func (d *decoding) all() []arrival {
	if d.filling != nil {
		d.start()
	}
	close(d.running)
	return <-d.done
}
