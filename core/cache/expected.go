package cache

import (
	"bytes"
	"slices"
	"strconv"
	"sync"

	"github.com/gantryio/gantry/core/api"
)

// expected holds the objects whose bytes are on their way into the store, so that the event that
// brings them back need not decode them.
type expected struct {
	mu    sync.Mutex
	byKey map[string][]*Expectation
}

// Expectation is a write in flight.
type Expectation struct {
	owner *expected
	key   string
	value []byte
	obj   api.Object
	done  chan *Entry
}

// Expect announces that value, the stored form of obj, is about to be written under key. From here on
// obj belongs to the cache. The caller must end with Drop.
func (c *Cache) Expect(key string, value []byte, obj api.Object) *Expectation {
	x := &Expectation{owner: &c.expected, key: key, value: value, obj: obj, done: make(chan *Entry, 1)}
	c.expected.mu.Lock()
	defer c.expected.mu.Unlock()
	if c.expected.byKey == nil {
		c.expected.byKey = map[string][]*Expectation{}
	}
	c.expected.byKey[key] = append(c.expected.byKey[key], x)
	return x
}

// Done delivers the entry once the write has come back.
func (x *Expectation) Done() <-chan *Entry { return x.done }

// Drop forgets the expectation, met or not.
func (x *Expectation) Drop() {
	x.owner.mu.Lock()
	defer x.owner.mu.Unlock()
	x.owner.drop(x)
}

func (e *expected) drop(x *Expectation) {
	list := e.byKey[x.key]
	for i, have := range list {
		if have != x {
			continue
		}
		if len(list) == 1 {
			delete(e.byKey, x.key)
		} else {
			e.byKey[x.key] = slices.Delete(list, i, i+1)
		}
		return
	}
}

// take returns and forgets the expectations of this write. Several writers may have tried the very same
// bytes at once; the store let one of them through, and which one cannot be told here.
func (e *expected) take(key string, value []byte) []*Expectation {
	e.mu.Lock()
	defer e.mu.Unlock()
	var met []*Expectation
	for _, x := range e.byKey[key] {
		if bytes.Equal(x.value, value) {
			met = append(met, x)
		}
	}
	for _, x := range met {
		e.drop(x)
	}
	return met
}

func formatRevision(revision int64) string { return strconv.FormatInt(revision, 10) }
