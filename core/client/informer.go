package client

import (
	"context"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/watch"
	toolscache "k8s.io/client-go/tools/cache"
	crcache "sigs.k8s.io/controller-runtime/pkg/cache"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/cache"
)

// informer delivers the events of one kind. Partial ones are for those who look at nothing but metadata: they deliver objects in whatever
// version and type they are stored.
type informer struct {
	informerKey
	cache *Cache

	mu       sync.Mutex
	handlers map[*registration]struct{}
	stopped  bool
}

var _ crcache.Informer = (*informer)(nil)

// registration is one handler and its cursor.
type registration struct {
	handler toolscache.ResourceEventHandler
	synced  chan struct{}
	cancel  context.CancelFunc
	name    string
}

var (
	_ toolscache.ResourceEventHandlerRegistration = (*registration)(nil)
	_ toolscache.DoneChecker                      = (*registration)(nil)
)

// HasSynced tells that the initial objects have been delivered.
func (r *registration) HasSynced() bool { return toolscache.IsDone(r) }

// HasSyncedChecker implements ResourceEventHandlerRegistration.
func (r *registration) HasSyncedChecker() toolscache.DoneChecker { return r }

// Name implements DoneChecker.
func (r *registration) Name() string { return r.name }

// Done implements DoneChecker.
func (r *registration) Done() <-chan struct{} { return r.synced }

// AddEventHandler implements cache.Informer.
func (i *informer) AddEventHandler(h toolscache.ResourceEventHandler) (toolscache.ResourceEventHandlerRegistration, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.stopped {
		return nil, fmt.Errorf("add a handler to the informer of %s: it was stopped", i.resource.Plural)
	}
	ctx, cancel := context.WithCancel(context.Background())
	reg := &registration{handler: h, synced: make(chan struct{}), cancel: cancel, name: i.resource.Plural}
	i.handlers[reg] = struct{}{}
	go i.deliver(ctx, reg)
	return reg, nil
}

// AddEventHandlerWithResyncPeriod implements cache.Informer. Nothing is ever lost here, so nothing is
// delivered again.
func (i *informer) AddEventHandlerWithResyncPeriod(h toolscache.ResourceEventHandler, _ time.Duration) (toolscache.ResourceEventHandlerRegistration, error) {
	return i.AddEventHandler(h)
}

// AddEventHandlerWithOptions implements cache.Informer.
func (i *informer) AddEventHandlerWithOptions(h toolscache.ResourceEventHandler, _ toolscache.HandlerOptions) (toolscache.ResourceEventHandlerRegistration, error) {
	return i.AddEventHandler(h)
}

// RemoveEventHandler implements cache.Informer.
func (i *informer) RemoveEventHandler(handle toolscache.ResourceEventHandlerRegistration) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	reg, ok := handle.(*registration)
	if _, have := i.handlers[reg]; !ok || !have {
		return fmt.Errorf("remove a handler from the informer of %s: unknown handler", i.resource.Plural)
	}
	reg.cancel()
	delete(i.handlers, reg)
	return nil
}

// AddIndexers implements cache.Informer.
func (i *informer) AddIndexers(indexers toolscache.Indexers) error {
	for name, values := range indexers {
		i.cache.from.Of(i.resource.Stored()).AddIndex(name, func(o api.Object) []string {
			out, err := values(i.resource.FromStored(o))
			if err != nil {
				return nil
			}
			return out
		})
	}
	return nil
}

// HasSynced implements cache.Informer.
func (i *informer) HasSynced() bool { return toolscache.IsDone(i.HasSyncedChecker()) }

// HasSyncedChecker implements cache.Informer.
func (i *informer) HasSyncedChecker() toolscache.DoneChecker {
	return loaded{i.cache.from.Synced(), i.resource.Plural}
}

type loaded struct {
	done <-chan struct{}
	name string
}

func (l loaded) Name() string          { return l.name }
func (l loaded) Done() <-chan struct{} { return l.done }

// IsStopped implements cache.Informer.
func (i *informer) IsStopped() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.stopped
}

func (i *informer) stop() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.stopped = true
	for reg := range i.handlers {
		reg.cancel()
	}
}

// deliver calls the handler with the present state and then with every change, in order.
func (i *informer) deliver(ctx context.Context, reg *registration) {
	if !i.cache.WaitForCacheSync(ctx) {
		return
	}
	stop := context.AfterFunc(i.cache.ctx, reg.cancel)
	defer stop()
	snap, w := i.cache.from.Of(i.resource.Stored()).SnapshotAndWatch(cache.Scope{})
	defer w.Close()
	w.SetPatient()
	for _, e := range snap.All() {
		if ctx.Err() != nil {
			return
		}
		obj, ok := i.show(ctx, e)
		if !ok {
			return
		}
		reg.handler.OnAdd(obj, true)
	}
	close(reg.synced)
	var buf []*cache.Event
	for {
		var err error
		buf, err = w.Next(ctx, buf[:0])
		for _, ev := range buf {
			if !i.handle(ctx, reg.handler, ev) {
				return
			}
		}
		if err != nil {
			return
		}
		clear(buf)
	}
}

// handle calls the handler with an event; false when ctx has ended before the event could be shown.
func (i *informer) handle(ctx context.Context, h toolscache.ResourceEventHandler, ev *cache.Event) bool {
	obj, ok := i.show(ctx, ev.Entry)
	if !ok {
		return false
	}
	switch ev.Type {
	case watch.Added:
		h.OnAdd(obj, false)
	case watch.Modified:
		prev, ok := i.show(ctx, ev.Prev)
		if !ok {
			return false
		}
		h.OnUpdate(prev, obj)
	case watch.Deleted:
		h.OnDelete(obj)
	}
	return true
}

// show is an entry as handlers see it. It waits where somebody else has to convert it.
func (i *informer) show(ctx context.Context, e *cache.Entry) (obj any, ok bool) {
	if i.partial {
		return e.Object, true
	}
	if i.resource.Convert == nil {
		return i.resource.FromStored(e.Object), true
	}
	return converted(ctx, i.resource, e.Object)
}
