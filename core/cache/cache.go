// Package cache is the watch cache: all objects of the store, decoded once and encoded once, for the
// API server's reads and for the parts that run in its process.
//
// One watch over the whole store feeds it, so that revisions of all kinds have one order. Each kind has
// a collection: a copy-on-write tree whose snapshots cost nothing, a history of recent events from which
// watches resume, and topics that wake only those watchers whom an event may concern.
package cache

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/store"
)

// Errors that callers tell apart with errors.Is.
var (
	// ErrExpired: the revision is older than what the cache remembers.
	ErrExpired = errors.New("revision too old")
	// ErrFuture: the revision has not been reached in time.
	ErrFuture = errors.New("revision not reached")
	// ErrSlow: the watcher fell too far behind and was cut.
	ErrSlow = errors.New("watcher too slow")
)

// Store is what the cache needs of core/store.
type Store interface {
	List(ctx context.Context, prefix string, visit func(store.KV) error) (int64, error)
	Watch(ctx context.Context, prefix string, revision int64, visit func(events []store.Event, seen int64) error) error
	Revision(ctx context.Context) (int64, error)
	RevisionOf(ctx context.Context, prefix string) (int64, error)
	Acknowledged() (revision int64, known bool)
	AskProgress(ctx context.Context) error
}

// Cache is safe for concurrent use. New makes one and Run keeps it true.
type Cache struct {
	store       Store
	collections atomic.Pointer[map[string]*Collection] // by api.Resource.StoragePrefix; the map never changes
	expected    expected

	synced   chan struct{}
	revision atomic.Int64
	applying sync.Mutex // orders what comes from the store; see kinds.go

	mu      sync.Mutex
	waiting map[*waiter]struct{}
}

type waiter struct {
	revision int64
	reached  chan struct{}
}

// New returns a cache of all kinds of the registry; it is empty until Run has loaded it.
func New(st Store, registry *api.Registry) *Cache {
	c := &Cache{store: st, synced: make(chan struct{}), waiting: map[*waiter]struct{}{}}
	all := map[string]*Collection{}
	for _, r := range registry.Stored() {
		all[r.StoragePrefix] = newCollection(r, &c.revision)
	}
	c.collections.Store(&all)
	return c
}

// Of returns the collection of a kind in its stored version. For a kind that the cache does not hold, as one whose definition
// has just been deleted, that is an empty one which stays so.
func (c *Cache) Of(r *api.Resource) *Collection {
	if col := (*c.collections.Load())[r.StoragePrefix]; col != nil {
		return col
	}
	return newCollection(r, &c.revision)
}

// Synced is closed once the store is ready and all that it has been loaded.
func (c *Cache) Synced() <-chan struct{} { return c.synced }

// Revision is the store's revision up to which the cache has seen everything.
func (c *Cache) Revision() int64 { return c.revision.Load() }

// Run loads the store and follows it until ctx ends. When the watch breaks it goes on where it was;
// when that is compacted, it loads again and tells watchers the difference.
func (c *Cache) Run(ctx context.Context) error {
	var cooling sync.WaitGroup
	defer cooling.Wait()
	cooling.Go(func() { c.cool(ctx) })
	for backoff := 10 * time.Millisecond; ; backoff = min(2*backoff, time.Second) {
		err := c.follow(ctx)
		if ctx.Err() != nil {
			c.closeTopics()
			return ctx.Err()
		}
		slog.Warn("store watch ended, starting it anew", "revision", c.Revision(), "err", err)
		select {
		case <-ctx.Done():
		case <-time.After(backoff):
		}
	}
}

func (c *Cache) follow(ctx context.Context) error {
	if c.Revision() == 0 {
		if err := c.load(ctx); err != nil {
			return err
		}
		// The embedded etcd answers before it has taken up all of its log, the rest of which the watch brings.
		go c.sync(ctx)
	}
	err := c.store.Watch(ctx, store.Root, c.Revision()+1, func(events []store.Event, seen int64) error {
		return c.apply(events, seen)
	})
	if errors.Is(err, store.ErrCompacted) {
		return errors.Join(err, c.load(ctx))
	}
	return err
}

// sync says that the cache is synced once it has all that was ever acknowledged.
func (c *Cache) sync(ctx context.Context) {
	for ctx.Err() == nil {
		err := c.Latest(ctx)
		if err == nil {
			close(c.synced)
			return
		}
		slog.Warn("cannot tell whether all has been loaded", "err", err)
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// owner finds the collection of a key by its longest prefix: /registry/services/specs/… is two deep.
func (c *Cache) owner(key string) *Collection {
	rest, all := strings.TrimPrefix(key, store.Root), *c.collections.Load()
	for i := 0; i < len(rest); i++ {
		if rest[i] != '/' {
			continue
		}
		if col := all[rest[:i]]; col != nil {
			return col
		}
	}
	return nil
}

func (c *Cache) apply(events []store.Event, seen int64) error {
	c.applying.Lock()
	defer c.applying.Unlock()
	for _, e := range events {
		c.applyOne(e)
	}
	c.advance(seen)
	return nil
}

func (c *Cache) applyOne(e store.Event) {
	if a, ok := c.meet(e); ok && a.decode(e.Value) {
		a.join()
		a.settle()
	}
}

func (c *Cache) advance(revision int64) {
	if revision <= c.revision.Load() {
		return
	}
	c.revision.Store(revision)
	c.mu.Lock()
	defer c.mu.Unlock()
	for w := range c.waiting {
		if w.revision <= revision {
			close(w.reached)
			delete(c.waiting, w)
		}
	}
}

// WaitFor returns once the cache has seen revision; ErrFuture when ctx ends before.
func (c *Cache) WaitFor(ctx context.Context, revision int64) error {
	if c.Revision() >= revision {
		return nil
	}
	w := &waiter{revision: revision, reached: make(chan struct{})}
	c.mu.Lock()
	c.waiting[w] = struct{}{}
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.waiting, w)
		c.mu.Unlock()
	}()
	if c.Revision() >= revision {
		return nil
	}
	// A quiet external etcd tells its revision only when asked, and may be asked before it has it.
	ask := time.NewTicker(50 * time.Millisecond)
	defer ask.Stop()
	for {
		select {
		case <-w.reached:
			return nil
		case <-ask.C:
			_ = c.store.AskProgress(ctx)
		case <-ctx.Done():
			return fmt.Errorf("wait for revision %d, have %d: %w", revision, c.Revision(), ErrFuture)
		}
	}
}

// IsLatest tells, at no cost, that Latest would return at once. It is false when that cannot be known.
func (c *Cache) IsLatest() bool {
	revision, known := c.store.Acknowledged()
	return known && c.Revision() >= revision
}

// LatestOf is Latest for those who read objects of one kind alone: it returns once the cache has seen every write to that kind that was
// acknowledged before the call, and does not wait for what is written elsewhere.
func (c *Cache) LatestOf(ctx context.Context, r *api.Resource) error {
	revision, err := c.store.RevisionOf(ctx, r.Prefix())
	if err != nil {
		return fmt.Errorf("ask for the latest revision of %s: %w", r.Plural, err)
	}
	return c.WaitFor(ctx, revision)
}

// Latest returns once the cache has seen every write that was acknowledged before the call.
func (c *Cache) Latest(ctx context.Context) error {
	revision, err := c.store.Revision(ctx)
	if err != nil {
		return fmt.Errorf("ask for the latest revision: %w", err)
	}
	return c.WaitFor(ctx, revision)
}
