package cache

import (
	"context"
	"fmt"
	"log/slog"
	"maps"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/store"
)

// Use makes the cache hold the objects of r, a kind in its stored version, from now on. If it holds them already, as an earlier
// description of the kind, they are read anew, without an event, for another description reads them otherwise. What comes from
// the store waits meanwhile.
func (c *Cache) Use(ctx context.Context, r *api.Resource) error {
	c.applying.Lock()
	defer c.applying.Unlock()
	_, held := (*c.collections.Load())[r.StoragePrefix]
	col := c.Of(r)
	var entries []*Entry
	revision, err := c.store.List(ctx, r.Prefix(), func(kv store.KV) error {
		obj, former, err := r.DecodeStored(kv.Value)
		if err != nil {
			slog.Error("cannot decode a stored object", "key", kv.Key, "revision", kv.Revision, "err", err)
			return nil
		}
		obj.SetResourceVersion(formatRevision(kv.Revision))
		entries = append(entries, &Entry{Key: kv.Key, Revision: kv.Revision, Object: obj, Former: former})
		return nil
	})
	if err != nil {
		return fmt.Errorf("load %s: %w", r.GroupResource(), err)
	}
	if held {
		col.reread(r, entries)
		return nil
	}
	for _, e := range entries {
		col.tree.Set(e.Key, e)
	}
	// The store may be ahead of the watch, whose events up to here are in what was loaded.
	col.loaded, col.history.floor = revision, revision
	col.changed.Store(revision)
	all := maps.Clone(*c.collections.Load())
	all[r.StoragePrefix] = col
	c.collections.Store(&all)
	return nil
}

// Forget ends the watches of a kind and drops its objects from the cache. The store keeps them.
func (c *Cache) Forget(r *api.Resource) {
	c.applying.Lock()
	defer c.applying.Unlock()
	col := c.Of(r)
	all := maps.Clone(*c.collections.Load())
	delete(all, r.StoragePrefix)
	c.collections.Store(&all)
	col.close()
}

// reread replaces entries by the same versions of the same objects as the new description reads them. Others are left to
// the events that bring them.
func (c *Collection) reread(r *api.Resource, entries []*Entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.resource.Store(r)
	for _, e := range entries {
		if have, ok := c.tree.Get(e.Key); ok && have.Revision == e.Revision {
			c.tree.Set(e.Key, e)
			c.reindex(have, e)
		}
	}
}
