package cache

import (
	"maps"
	"slices"

	"github.com/gantryio/gantry/core/api"
)

// index finds objects by values computed from them; the collection keeps it up to date.
type index struct {
	values func(api.Object) []string
	byKey  map[string]map[string]*Entry // value → key → entry
}

// AddIndex makes ByIndex answer for name; a second index of one name replaces the first.
func (c *Collection) AddIndex(name string, values func(api.Object) []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	x := &index{values: values, byKey: map[string]map[string]*Entry{}}
	c.tree.Scan(func(_ string, e *Entry) bool {
		x.add(e)
		return true
	})
	if c.indexes == nil {
		c.indexes = map[string]*index{}
	}
	c.indexes[name] = x
}

// ByIndex returns the objects that have the value, in order of keys; false when there is no such index.
func (c *Collection) ByIndex(name, value string) ([]*Entry, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	x := c.indexes[name]
	if x == nil {
		return nil, false
	}
	found := x.byKey[value]
	if len(found) == 0 {
		return nil, true
	}
	out := make([]*Entry, 0, len(found))
	for _, key := range slices.Sorted(maps.Keys(found)) {
		out = append(out, found[key])
	}
	return out, true
}

// NoneByIndex tells that no object has the value; false also when there is no such index.
func (c *Collection) NoneByIndex(name, value string) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	x := c.indexes[name]
	return x != nil && len(x.byKey[value]) == 0
}

func (x *index) add(e *Entry) {
	for _, v := range x.values(e.Object) {
		if x.byKey[v] == nil {
			x.byKey[v] = map[string]*Entry{}
		}
		x.byKey[v][e.Key] = e
	}
}

func (x *index) drop(e *Entry) {
	for _, v := range x.values(e.Object) {
		delete(x.byKey[v], e.Key)
		if len(x.byKey[v]) == 0 {
			delete(x.byKey, v)
		}
	}
}

// reindex moves an object from its previous version, which may be nil, to its present one, likewise.
func (c *Collection) reindex(prev, now *Entry) {
	for _, x := range c.indexes {
		if prev != nil {
			x.drop(prev)
		}
		if now != nil {
			x.add(now)
		}
	}
}
