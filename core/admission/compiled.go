package admission

import (
	"sync"
	"sync/atomic"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/gantryio/gantry/core/cache"
)

// Compiled keeps what is made of all objects of some kinds. It is made anew by whoever asks first after one of them has changed,
// so that a write which was acknowledged is heeded from then on; asking costs nothing while none has. It is safe for
// concurrent use.
type Compiled[T any] struct {
	Objects Reader
	Kinds   []schema.GroupVersionResource
	// Make is given what it returned before, nil at first, and the objects of each of the kinds. It may return nil.
	Make func(before *T, objects [][]*cache.Entry) *T

	once sync.Once
	of   []*cache.Collection
	mu   sync.Mutex
	now  atomic.Pointer[made[T]]
}

type made[T any] struct {
	seen  int64
	value *T
}

// Now returns what the objects mean as of now.
func (c *Compiled[T]) Now() *T {
	c.once.Do(c.find)
	if now := c.now.Load(); now != nil && now.seen == c.changed() {
		return now.value
	}
	return c.make()
}

func (c *Compiled[T]) find() {
	c.of = make([]*cache.Collection, len(c.Kinds))
	for i, kind := range c.Kinds {
		if r := c.Objects.Registry.Resource(kind); r != nil {
			c.of[i] = c.Objects.Cache.Of(r)
		}
	}
}

// changed is the revision of the last change of any of the kinds.
func (c *Compiled[T]) changed() int64 {
	var last int64
	for _, col := range c.of {
		if col != nil {
			last = max(last, col.Changed())
		}
	}
	return last
}

func (c *Compiled[T]) make() *T {
	c.mu.Lock()
	defer c.mu.Unlock()
	changed := c.changed()
	var before *T
	if now := c.now.Load(); now != nil {
		if now.seen == changed {
			return now.value // somebody else has done it
		}
		before = now.value
	}
	objects := make([][]*cache.Entry, len(c.of))
	for i, col := range c.of {
		if col == nil {
			continue // a server of other kinds
		}
		for _, e := range col.Snapshot().All() {
			objects[i] = append(objects[i], e)
		}
	}
	value := c.Make(before, objects)
	c.now.Store(&made[T]{changed, value})
	return value
}
