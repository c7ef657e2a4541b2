package apiserver

import (
	"context"
	"fmt"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/fields"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/cache"
)

// selection is what a list or watch is about. The versions of a defined kind may have different fields to select by, so there
// these are looked up in the version that the client speaks.
type selection struct {
	// Selector is over the kind as it is stored, of a defined kind over the version that is spoken.
	cache.Selector
	q *api.Request
	// convert says that an object has to be converted before its fields are compared.
	convert bool
	// first finds what has to be converted.
	first cache.Selector
}

// newSelection compiles the options' selectors.
func newSelection(q *api.Request, o *ListOptions) (*selection, error) {
	r, over := q.Spoken(), q.Resource
	selected, err := r.StoredFields(o.Fields)
	if r.Custom() {
		over = r
	}
	f := &selection{q: q}
	if err == nil {
		f.Selector, err = cache.NewSelector(over, o.Labels, selected)
	}
	if err == nil && r.Convert != nil && readsContent(selected) {
		f.convert = true
		f.first, err = cache.NewSelector(over, o.Labels, nil)
	}
	if err != nil {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("Unable to find %q that match label selector %q, field selector %q: %v",
			r.GroupVersionResource().String(), selectorText(o.Labels), o.Fields, err))
	}
	return f, nil
}

// readsContent tells whether the selector is over more than name and namespace, which are the same in all versions.
func readsContent(s fields.Selector) bool {
	if s == nil {
		return false
	}
	for _, req := range s.Requirements() {
		if req.Field != "metadata.name" && req.Field != "metadata.namespace" {
			return true
		}
	}
	return false
}

// collect returns what is selected after a key, at most limit of it where that is not 0. It leaves the key of the last item in
// Continue when there is more.
func (f *selection) collect(ctx context.Context, snap *cache.Snapshot, after string, limit int64) (*Page, error) {
	page := &Page{Revision: snap.Revision, Items: []*cache.Entry{}}
	add := func(e *cache.Entry) bool {
		if limit > 0 && int64(len(page.Items)) == limit {
			page.Continue = page.Items[limit-1].Key
			return false
		}
		page.Items = append(page.Items, e)
		return true
	}
	if f.convert {
		return page, f.convertEach(ctx, snap, after, add)
	}
	// How many there are is known afterwards: a list that grows by doubling leaves three times what it comes to.
	room := rooms.Get().(*[]*cache.Entry)
	defer rooms.Put(room)
	page.Items = (*room)[:0]
	for e := range snap.Select(&f.Selector, f.q.Namespace, after) {
		if !add(e) {
			break
		}
	}
	*room, page.Items = page.Items, append([]*cache.Entry{}, page.Items...)
	clear(*room)
	return page, nil
}

// rooms are where items are collected.
var rooms = sync.Pool{New: func() any { return new([]*cache.Entry) }}

// convertEach adds what is selected in the spoken version until add has enough.
func (f *selection) convertEach(ctx context.Context, snap *cache.Snapshot, after string, add func(*cache.Entry) bool) error {
	for {
		var some []*cache.Entry
		for e := range snap.Select(&f.first, f.q.Namespace, after) {
			if some = append(some, e); len(some) == shownAtOnce {
				break
			}
		}
		converted, err := shownAll(ctx, f.q, some)
		if err != nil {
			return err
		}
		for _, e := range converted {
			if f.Matches(e.Object) && !add(e) {
				return nil
			}
		}
		if len(some) < shownAtOnce {
			return nil
		}
		after = some[len(some)-1].Key
	}
}

// see is what a change looks like through the selection.
func (f *selection) see(ctx context.Context, ev *cache.Event) (cache.Event, bool, error) {
	if f.convert {
		entries := []*cache.Entry{ev.Entry}
		if ev.Prev != nil {
			entries = append(entries, ev.Prev)
		}
		converted, err := shownAll(ctx, f.q, entries)
		if err != nil {
			return cache.Event{}, false, err
		}
		spoken := *ev
		if spoken.Entry = converted[0]; ev.Prev != nil {
			spoken.Prev = converted[1]
		}
		ev = &spoken
	}
	out, ok := f.See(ev)
	return out, ok, nil
}
