package client

import (
	"context"
	"errors"
	"net/http"
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/cache"
)

// Watch implements client.WithWatch. Options.Raw may carry a resourceVersion to begin after; without one
// the present state comes first, as ADDED events.
func (c *Client) Watch(ctx context.Context, list client.ObjectList, opts ...client.ListOption) (watch.Interface, error) {
	r, err := c.resource(list)
	if err != nil {
		return nil, err
	}
	if r.Computed {
		return nil, apierrors.NewMethodNotSupported(r.GroupResource(), "watch")
	}
	o := (&client.ListOptions{}).ApplyOptions(opts)
	raw := o.Raw
	if raw == nil {
		raw = &metav1.ListOptions{}
	}
	if raw.SendInitialEvents != nil && *raw.SendInitialEvents {
		// Reflectors list first when a server does not stream lists; a list costs nothing here.
		return nil, apierrors.NewInvalid(metav1.SchemeGroupVersion.WithKind("ListOptions").GroupKind(), "", nil)
	}
	sel, err := cache.NewSelector(r.Stored(), o.LabelSelector, o.FieldSelector)
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	w := &stream{resource: r, selector: sel, out: make(chan watch.Event), done: make(chan struct{})}
	var initial []*cache.Entry
	if w.watcher, initial, err = begin(c.Cache.Of(r.Stored()), &sel, o.Namespace, raw.ResourceVersion); err != nil {
		return nil, err
	}
	_, w.partial = list.(*metav1.PartialObjectMetadataList)
	ctx, w.cancel = context.WithCancel(ctx)
	go w.run(ctx, initial)
	return w, nil
}

// begin starts a watcher after a revision, or with the present state.
func begin(col *cache.Collection, sel *cache.Selector, namespace, resourceVersion string) (*cache.Watcher, []*cache.Entry, error) {
	scope := sel.Scope(namespace)
	if resourceVersion != "" && resourceVersion != "0" {
		revision, err := strconv.ParseInt(resourceVersion, 10, 64)
		if err != nil {
			return nil, nil, apierrors.NewBadRequest("invalid resource version " + strconv.Quote(resourceVersion))
		}
		w, err := col.Watch(revision, scope)
		if err != nil {
			return nil, nil, apierrors.NewResourceExpired("too old resource version: " + resourceVersion)
		}
		return w, nil, nil
	}
	snap, w := col.SnapshotAndWatch(scope)
	var initial []*cache.Entry
	for e := range snap.Select(sel, namespace, "") {
		initial = append(initial, e)
	}
	return w, initial, nil
}

// stream is a watch.Interface over a cursor of the cache.
type stream struct {
	resource *api.Resource
	selector cache.Selector
	watcher  *cache.Watcher
	partial  bool
	out      chan watch.Event
	cancel   context.CancelFunc
	done     chan struct{}
}

// ResultChan implements watch.Interface.
func (s *stream) ResultChan() <-chan watch.Event { return s.out }

// Stop implements watch.Interface.
func (s *stream) Stop() {
	s.cancel()
	<-s.done
}

func (s *stream) run(ctx context.Context, initial []*cache.Entry) {
	defer close(s.done)
	defer close(s.out)
	defer s.watcher.Close()
	for _, e := range initial {
		if !s.show(ctx, watch.Added, e.Object) {
			return
		}
	}
	var buf []*cache.Event
	for {
		var err error
		buf, err = s.watcher.Next(ctx, buf[:0])
		for _, ev := range buf {
			seen, ok := s.selector.See(ev)
			if ok && !s.show(ctx, seen.Type, seen.Entry.Object) {
				return
			}
		}
		if errors.Is(err, cache.ErrSlow) {
			gone := metav1.Status{Status: metav1.StatusFailure, Code: http.StatusGone, Reason: metav1.StatusReasonExpired, Message: err.Error()}
			s.send(ctx, watch.Error, &gone)
		}
		if err != nil {
			return
		}
		clear(buf)
	}
}

// show sends a stored object as those who watch see it; false ends the watch, as one over HTTP ends when an object cannot be converted.
func (s *stream) show(ctx context.Context, kind watch.EventType, stored api.Object) bool {
	if s.partial {
		p := &metav1.PartialObjectMetadata{}
		return fillMetadata(s.resource, stored, p) == nil && s.send(ctx, kind, p)
	}
	if s.resource.Convert == nil {
		return s.send(ctx, kind, s.resource.FromStored(stored))
	}
	objs, err := s.resource.InVersion(ctx, []api.Object{stored})
	if err != nil {
		if told := apierrors.APIStatus(nil); errors.As(err, &told) {
			status := told.Status()
			s.send(ctx, watch.Error, &status)
		}
		return false
	}
	return s.send(ctx, kind, objs[0])
}

func (s *stream) send(ctx context.Context, kind watch.EventType, obj runtime.Object) bool {
	select {
	case s.out <- watch.Event{Type: kind, Object: obj}:
		return true
	case <-ctx.Done():
		return false
	}
}
