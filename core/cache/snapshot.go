package cache

import (
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/tidwall/btree"
)

// Snapshot is a collection as of one revision. Taking one copies nothing.
type Snapshot struct {
	Revision int64
	tree     *btree.Map[string, *Entry]
	prefix   string
}

// Snapshot returns the collection as it is now.
func (c *Collection) Snapshot() *Snapshot {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.snapshotLocked()
}

func (c *Collection) snapshotLocked() *Snapshot {
	// Events are applied before the cache's revision is raised, so the tree may be ahead of it.
	return &Snapshot{Revision: max(c.changed.Load(), c.revision.Load()), tree: c.tree.Copy(), prefix: c.kind().Prefix()}
}

// All walks in order of keys.
func (s *Snapshot) All() iter.Seq2[string, *Entry] { return s.From("", "") }

// From walks the objects of a namespace ("" for all) whose keys come after key ("" for the start).
func (s *Snapshot) From(namespace, after string) iter.Seq2[string, *Entry] {
	prefix := s.prefix
	if namespace != "" {
		prefix += namespace + "/"
	}
	start := prefix
	if after != "" {
		start = max(start, after+"\x00")
	}
	return func(yield func(string, *Entry) bool) {
		s.tree.Ascend(start, func(key string, e *Entry) bool {
			return strings.HasPrefix(key, prefix) && yield(key, e)
		})
	}
}

// Len is the number of all objects.
func (s *Snapshot) Len() int { return s.tree.Len() }

const (
	keepFor  = 5 * time.Minute
	keepMost = 32
)

// kept are snapshots that chunked lists go on with.
type kept struct {
	list []keptSnapshot
}

type keptSnapshot struct {
	*Snapshot
	until time.Time
}

// Keep makes At find s for the next minutes, unless many others are kept after it.
func (c *Collection) Keep(s *Snapshot) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	list := c.kept.list[:0]
	for _, k := range c.kept.list {
		if k.Revision != s.Revision && now.Before(k.until) {
			list = append(list, k)
		}
	}
	if len(list) == keepMost {
		list = append(list[:0], list[1:]...)
	}
	c.kept.list = append(list, keptSnapshot{s, now.Add(keepFor)})
}

// At returns the collection as of exactly that revision; ErrExpired when it is not remembered.
func (c *Collection) At(revision int64) (*Snapshot, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.snapshotLocked()
	if revision > now.Revision {
		return nil, ErrExpired
	}
	if later, ok := c.history.since(revision); ok {
		undo(now.tree, later)
		now.Revision = revision
		return now, nil
	}
	for _, k := range c.kept.list {
		if k.Revision == revision && time.Now().Before(k.until) {
			return k.Snapshot, nil
		}
	}
	return nil, ErrExpired
}

// undo takes back events, given oldest first.
func undo(tree *btree.Map[string, *Entry], later []*Event) {
	for _, ev := range slices.Backward(later) {
		if ev.Prev == nil {
			tree.Delete(ev.Entry.Key)
		} else {
			tree.Set(ev.Entry.Key, ev.Prev)
		}
	}
}

// Get returns the version of an object in the snapshot, nil when there is none.
func (s *Snapshot) Get(key string) *Entry {
	e, _ := s.tree.Get(key)
	return e
}
