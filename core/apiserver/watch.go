package apiserver

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/cache"
)

// bookmarkEvery is how often a watcher that asked for bookmarks hears how far it has seen.
const bookmarkEvery = time.Minute

// WatchEvent is what a watcher sees through its selectors.
type WatchEvent struct {
	// Type is ADDED, MODIFIED, DELETED or BOOKMARK.
	Type watch.EventType
	// Entry is nil for a bookmark.
	Entry *cache.Entry
	// Revision is the event's, or up to where a bookmark has seen everything.
	Revision int64
	// InitialEnd marks the bookmark after the initial events of a streaming list.
	InitialEnd bool
}

// Watch is a running watch. It is used by one goroutine and must be closed.
type Watch struct {
	filter  *selection
	watcher *cache.Watcher
	cache   *cache.Cache
	initial []WatchEvent
	buf     []*cache.Event
	marks   *time.Timer // nil without bookmarks
	due     atomic.Bool // a bookmark
	sent    int64
	// after is the revision that the client asked to go on after; another server, which it comes from,
	// may have been ahead of this one.
	after int64
}

// Watch begins a watch of what o selects in q's namespace, or in all when that is empty.
func (s *Server) Watch(ctx context.Context, q *api.Request, o *ListOptions) (*Watch, error) {
	if err := o.check(true); err != nil {
		return nil, err
	}
	f, err := newSelection(q, o)
	if err != nil {
		return nil, err
	}
	w := &Watch{filter: f, cache: s.Cache}
	col, scope := s.Cache.Of(q.Resource), f.Scope(q.Namespace)
	initial := o.InitialEvents != nil && *o.InitialEvents
	revision, err := parseRevision(o.ResourceVersion)
	if err != nil {
		return nil, err
	}
	fromNow := o.InitialEvents != nil && !*o.InitialEvents && revision == 0
	switch {
	case initial || revision == 0 && !fromNow:
		if initial || o.ResourceVersion == "" {
			if err := s.waitFor(ctx, o.ResourceVersion); err != nil {
				return nil, err
			}
		}
		var snap *cache.Snapshot
		snap, w.watcher = col.SnapshotAndWatch(scope)
		if err := w.start(ctx, snap, initial && o.Bookmarks); err != nil {
			w.watcher.Close()
			return nil, err
		}
	default:
		if fromNow {
			revision = s.Cache.Revision()
		}
		if w.watcher, err = col.Watch(revision, scope); err != nil {
			return nil, apierrors.NewResourceExpired(fmt.Sprintf("too old resource version: %d (%d)", revision, s.Cache.Revision()))
		}
		w.sent, w.after = revision, revision
	}
	if o.Bookmarks {
		w.marks = time.AfterFunc(bookmarkEvery, func() {
			w.due.Store(true)
			w.watcher.Wake()
		})
	}
	return w, nil
}

// start queues the present state as ADDED events.
func (w *Watch) start(ctx context.Context, snap *cache.Snapshot, mark bool) error {
	page, err := w.filter.collect(ctx, snap, "", 0)
	if err != nil {
		return err
	}
	for _, e := range page.Items {
		w.initial = append(w.initial, WatchEvent{Type: watch.Added, Entry: e, Revision: e.Revision})
	}
	if mark {
		w.initial = append(w.initial, WatchEvent{Type: watch.Bookmark, Revision: snap.Revision, InitialEnd: true})
	}
	w.sent = snap.Revision
	return nil
}

// Close ends the watch.
func (w *Watch) Close() {
	w.watcher.Close()
	if w.marks != nil {
		w.marks.Stop()
	}
}

// Ready tells that there are events with which the watch begins.
func (w *Watch) Ready() bool { return len(w.initial) > 0 }

// Next waits for events and appends them to out. ctx is the same in all calls. Errors are final; those that a client can act on are
// API statuses.
func (w *Watch) Next(ctx context.Context, out []WatchEvent) ([]WatchEvent, error) {
	if len(w.initial) > 0 {
		out, w.initial = append(out, w.initial...), nil
		return out, nil
	}
	for {
		if err := w.watcher.Wait(ctx); err != nil {
			return out, err
		}
		if events, err := w.Poll(ctx, out); err != nil || len(events) > len(out) {
			return events, err
		}
	}
}

// Poll is Next without waiting: it appends the events that are there. Next has to have returned once before.
func (w *Watch) Poll(ctx context.Context, out []WatchEvent) ([]WatchEvent, error) {
	due := w.due.Load() && w.due.Swap(false)
	if !due {
		return w.poll(ctx, out)
	}
	// Read before polling: what came until then is either polled here or not before the mark.
	seen := w.cache.Revision()
	events, err := w.poll(ctx, out)
	w.marks.Reset(bookmarkEvery)
	if err != nil || len(events) > len(out) {
		return events, err
	}
	return append(out, WatchEvent{Type: watch.Bookmark, Revision: max(seen, w.sent)}), nil
}

// Notify has f called whenever Poll may have something, instead of having Next return; see [cache.Watcher.Notify].
func (w *Watch) Notify(f func()) { w.watcher.Notify(f) }

func (w *Watch) poll(ctx context.Context, out []WatchEvent) ([]WatchEvent, error) {
	events, err := w.watcher.Poll(w.buf[:0])
	w.buf = events
	if errors.Is(err, cache.ErrSlow) {
		return out, apierrors.NewResourceExpired("the watcher fell too far behind")
	}
	if err != nil {
		return out, err
	}
	for _, ev := range events {
		if ev.Entry.Revision <= w.after {
			continue
		}
		seen, ok, err := w.filter.see(ctx, ev)
		if err != nil {
			return out, err
		}
		if ok {
			out = append(out, WatchEvent{Type: seen.Type, Entry: seen.Entry, Revision: ev.Entry.Revision})
		}
		w.sent = ev.Entry.Revision
	}
	clear(w.buf)
	return out, nil
}
