package garbage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	crcache "sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"

	"github.com/gantryio/gantry/core/client/defined"
	"github.com/gantryio/gantry/core/client/source"
)

// Elsewhere is what other API servers serve: their objects own and are owned like all others.
type Elsewhere struct {
	// Cache watches them. The controller starts it, and reads nothing from it that it does not watch, which must be an error.
	Cache crcache.Cache
	// Kinds are those that can be listed, watched and deleted now, as far as that can be found out, and Changed is closed when
	// it would tell something else than before it was asked for.
	Kinds   func(ctx context.Context) []schema.GroupVersionKind
	Changed func() <-chan struct{}

	mu     sync.Mutex
	synced map[schema.GroupVersionKind]bool // whose objects are all known
}

// find lists the objects of the kinds that are known, from what is watched: a server that does not answer holds nobody up.
func (e *Elsewhere) find(ctx context.Context, opts ...client.ListOption) ([]found, error) {
	if e == nil {
		return nil, nil
	}
	e.mu.Lock()
	var kinds []schema.GroupVersionKind
	for gvk := range e.synced {
		kinds = append(kinds, gvk)
	}
	e.mu.Unlock()
	var out []found
	for _, gvk := range kinds {
		list := &metav1.PartialObjectMetadataList{}
		list.SetGroupVersionKind(gvk.GroupVersion().WithKind(gvk.Kind + "List"))
		var gone *crcache.ErrResourceNotCached
		if err := e.Cache.List(ctx, list, opts...); errors.As(err, &gone) {
			continue
		} else if err != nil {
			return nil, fmt.Errorf("list dependents of kind %s: %w", gvk.Kind, err)
		}
		for i := range list.Items {
			d := &list.Items[i]
			out = append(out, found{item{gvk, client.ObjectKeyFromObject(d), d.UID}, d})
		}
	}
	return out, nil
}

// note remembers whether all objects of a kind are known.
func (e *Elsewhere) note(gvk schema.GroupVersionKind, synced bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.synced == nil {
		e.synced = map[schema.GroupVersionKind]bool{}
	}
	if synced {
		e.synced[gvk] = true
	} else {
		delete(e.synced, gvk)
	}
}

// follower watches the kinds of other servers as they come and go.
type follower struct {
	*Controller
	watches controller.TypedController[item]
	running map[schema.GroupVersionKind]context.CancelFunc
	wg      sync.WaitGroup
}

// retry is how soon a kind that could not be watched is tried again.
const retry = 15 * time.Second

// Start implements manager.Runnable.
func (f *follower) Start(ctx context.Context) error {
	f.running = map[schema.GroupVersionKind]context.CancelFunc{}
	defer f.wg.Wait()
	f.wg.Go(func() {
		if err := f.Elsewhere.Cache.Start(ctx); err != nil {
			slog.Error("cannot watch other servers", "err", err)
		}
	})
	if !f.Elsewhere.Cache.WaitForCacheSync(ctx) {
		return nil
	}
	for {
		changed := f.Elsewhere.Changed()
		kinds := f.Elsewhere.Kinds(ctx)
		for gvk, cancel := range f.running {
			if !slices.Contains(kinds, gvk) {
				cancel()
				delete(f.running, gvk)
				f.Elsewhere.note(gvk, false)
				if err := f.Elsewhere.Cache.RemoveInformer(ctx, metadata(gvk)); err != nil {
					slog.Warn("cannot end the watch of a kind of another server", "kind", gvk, "err", err)
				}
			}
		}
		again := time.Duration(0)
		for _, gvk := range kinds {
			if f.running[gvk] != nil {
				continue
			}
			if err := f.watch(ctx, gvk); err != nil {
				slog.Warn("cannot watch a kind of another server", "kind", gvk, "err", err)
				again = retry
			}
		}
		var late <-chan time.Time
		if again > 0 {
			late = time.After(again)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-late:
		}
	}
}

// watch begins with a kind. Once all of its objects are known, what they own is looked at: owners may have gone before anybody
// watched them.
func (f *follower) watch(ctx context.Context, gvk schema.GroupVersionKind) error {
	if err := index(ctx, f.Elsewhere.Cache, metadata(gvk)); err != nil {
		return err
	}
	if err := f.watches.Watch(source.Of(f.Elsewhere.Cache, metadata(gvk), f.events(gvk))); err != nil {
		return err
	}
	while, cancel := context.WithCancel(ctx)
	f.running[gvk] = cancel
	f.wg.Go(func() {
		if _, err := f.Elsewhere.Cache.GetInformer(while, metadata(gvk)); err != nil || while.Err() != nil {
			return
		}
		f.Elsewhere.note(gvk, true)
		if err := f.watches.Watch(f.ownedBy(defined.Kind{GroupVersionKind: gvk})); err != nil {
			slog.Warn("cannot look at what objects of another server own", "kind", gvk, "err", err)
		}
	})
	return nil
}
