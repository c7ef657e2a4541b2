package cache

import (
	"context"
	"time"
)

const (
	// coolEvery is how often the cache lets go of what nobody asks for: encodings that have not been asked for since the last
	// time, and events that are old.
	coolEvery = 30 * time.Second
	// Events are kept for rememberFor turns, two minutes, from which a client that has lost its connection can go on; rememberLeast
	// of each kind are kept for longer. Kubernetes' cache remembers 75 seconds and 100 events at least.
	rememberFor   = 4
	rememberLeast = 256
)

// cool runs until ctx ends.
func (c *Cache) cool(ctx context.Context) {
	tick := time.NewTicker(coolEvery)
	defer tick.Stop()
	var turns [rememberFor]int64 // the revisions of the last turns, oldest first
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		c.coolDown(turns[0])
		copy(turns[:], turns[1:])
		turns[rememberFor-1] = c.Revision()
	}
}

// coolDown forgets cold encodings, and events up to the revision.
func (c *Cache) coolDown(revision int64) {
	for _, col := range *c.collections.Load() {
		for _, e := range col.Snapshot().All() {
			e.cool()
		}
		for e := range col.letGo(revision) {
			e.cool()
		}
	}
}

// letGo forgets events up to the revision and snapshots whose time is over. It returns the entries that are no longer in the
// tree, but in the history.
func (c *Collection) letGo(revision int64) map[*Entry]struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.history.forget(revision, rememberLeast)
	c.kept.expire(time.Now())
	past := map[*Entry]struct{}{}
	for _, ev := range c.history.events {
		if ev.Prev != nil {
			past[ev.Prev] = struct{}{}
		}
		if now, _ := c.tree.Get(ev.Entry.Key); now != ev.Entry {
			past[ev.Entry] = struct{}{}
		}
	}
	return past
}

// forget drops the oldest events up to the revision, but leaves the last ones.
func (h *history) forget(revision int64, least int) {
	n, gone := len(h.events), 0
	for gone < n-least && h.events[(h.start+gone)%n].Entry.Revision <= revision {
		gone++
	}
	if gone == 0 {
		return
	}
	h.floor = h.events[(h.start+gone-1)%n].Entry.Revision
	left := make([]*Event, 0, n-gone)
	for i := gone; i < n; i++ {
		left = append(left, h.events[(h.start+i)%n])
	}
	h.events, h.start = left, 0
}

// expire drops snapshots that are no longer to be found.
func (k *kept) expire(now time.Time) {
	var list []keptSnapshot
	for _, s := range k.list {
		if now.Before(s.until) {
			list = append(list, s)
		}
	}
	k.list = list
}
