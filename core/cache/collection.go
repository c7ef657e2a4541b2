package cache

import (
	"strings"
	"sync"
	"sync/atomic"

	"github.com/tidwall/btree"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/gantryio/gantry/core/api"
)

// Collection is all objects of one kind.
type Collection struct {
	resource atomic.Pointer[api.Resource] // in its stored version
	revision *atomic.Int64                // of the whole cache
	loaded   int64                        // events up to this revision are in the tree already

	mu      sync.RWMutex
	tree    btree.Map[string, *Entry]
	changed atomic.Int64 // revision of the last change; set under mu
	history history
	topics  map[topic]*queue
	kept    kept
	indexes map[string]*index
	alike   map[string]*Entry // see Share
}

func newCollection(r *api.Resource, revision *atomic.Int64) *Collection {
	c := &Collection{revision: revision, topics: map[topic]*queue{}}
	c.resource.Store(r)
	return c
}

func (c *Collection) kind() *api.Resource { return c.resource.Load() }

// Changed is the revision of the last change.
func (c *Collection) Changed() int64 { return c.changed.Load() }

// Event is a change of one object.
type Event struct {
	// Type is ADDED, MODIFIED or DELETED.
	Type watch.EventType
	// Entry is the new version; of a deletion, the last version with the deletion's revision.
	Entry *Entry
	// Prev is the version before, nil for ADDED.
	Prev *Entry
}

// Get returns the current version, nil when there is none.
func (c *Collection) Get(key string) *Entry {
	c.mu.RLock()
	defer c.mu.RUnlock()
	e, _ := c.tree.Get(key)
	return e
}

// Count is how many objects there are in a namespace, in all with "". It counts no further than most.
func (c *Collection) Count(namespace string, most int) int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.countLocked(namespace, most)
}

func (c *Collection) countLocked(namespace string, most int) int {
	if namespace == "" || c.tree.Len() == 0 {
		return min(most, c.tree.Len())
	}
	n, prefix := 0, c.kind().Prefix()+namespace+"/"
	c.tree.Ascend(prefix, func(key string, _ *Entry) bool {
		if n == most || !strings.HasPrefix(key, prefix) {
			return false
		}
		n++
		return true
	})
	return n
}

// None tells that there are no objects in a namespace, in none with "", as of the revision.
func (c *Collection) None(namespace string) (revision int64, none bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return max(c.changed.Load(), c.revision.Load()), c.countLocked(namespace, 1) == 0
}

func (c *Collection) put(e *Entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if prev, had := c.tree.Get(e.Key); had && prev.Object.GetUID() != e.Object.GetUID() {
		// The deletion in between was missed; watchers must not take the new object for the old one.
		c.removeLocked(e.Key, e.Revision-1)
	}
	prev, had := c.tree.Set(e.Key, e)
	ev := &Event{Type: watch.Added, Entry: e}
	if had {
		ev.Type, ev.Prev = watch.Modified, prev
		c.goneLocked(prev)
	}
	c.newestLocked(e)
	c.reindex(ev.Prev, e)
	c.publish(ev)
}

func (c *Collection) remove(key string, revision int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.removeLocked(key, revision)
}

func (c *Collection) removeLocked(key string, revision int64) {
	prev, had := c.tree.Delete(key)
	if !had {
		return
	}
	c.reindex(prev, nil)
	c.goneLocked(prev)
	last := c.kind().ShallowCopy(prev.Object)
	last.SetResourceVersion(formatRevision(revision))
	c.publish(&Event{
		Type:  watch.Deleted,
		Entry: &Entry{Key: key, Revision: revision, Object: last},
		Prev:  prev,
	})
}

func (c *Collection) publish(ev *Event) {
	c.changed.Store(ev.Entry.Revision)
	c.history.add(ev)
	c.wake(ev)
}

// untouched tells that the collection has never held anything, and that nobody watches it.
func (c *Collection) untouched() bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.untouchedLocked()
}

func (c *Collection) untouchedLocked() bool {
	return c.tree.Len() == 0 && len(c.topics) == 0 && len(c.history.events) == 0
}

// fill gives an untouched collection what it holds as of the revision, in order of keys. Otherwise it drops the history and returns
// false.
func (c *Collection) fill(arrived []*arrival, revision int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	untouched := c.untouchedLocked()
	c.history = history{floor: revision}
	if !untouched {
		return false
	}
	for _, a := range arrived {
		c.tree.Load(a.key, a.entry)
		c.reindex(nil, a.entry)
		c.changed.Store(max(c.changed.Load(), a.revision))
		a.tell()
	}
	return true
}

// forget drops the history: watches can start at revision but not before.
func (c *Collection) forget(revision int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.history = history{floor: revision}
}

// history is a ring of the latest events, oldest first.
type history struct {
	events []*Event
	start  int
	// floor is the highest revision whose events may be missing.
	floor int64
}

const historyMax = 8192

func (h *history) add(ev *Event) {
	if len(h.events) < historyMax {
		h.events = append(h.events, ev)
		return
	}
	h.floor = h.events[h.start].Entry.Revision
	h.events[h.start] = ev
	h.start = (h.start + 1) % historyMax
}

// since returns the events after revision, and false when some of them are no longer there.
func (h *history) since(revision int64) ([]*Event, bool) {
	if revision < h.floor {
		return nil, false
	}
	n := len(h.events)
	lo, hi := 0, n
	for lo < hi {
		mid := (lo + hi) / 2
		if h.events[(h.start+mid)%n].Entry.Revision > revision {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	out := make([]*Event, 0, n-lo)
	for i := lo; i < n; i++ {
		out = append(out, h.events[(h.start+i)%n])
	}
	return out, true
}
