// Package source tells controllers what happens to the objects of a kind, by calling a function. It exists because in the server's
// process every controller hears of every write to what it watches, mostly to find that it is nothing to it: the library's own source
// makes a context for each event and each who hears it, and looks each time by reflection what the object is.
package source

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	crcache "sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	crsource "sigs.k8s.io/controller-runtime/pkg/source"
)

// retry is how soon a kind is looked for again that could not be watched.
const retry = 10 * time.Second

// Queue is what a controller works off.
type Queue[R comparable] = workqueue.TypedRateLimitingInterface[R]

// Func hears the events of a kind, one after the other, those of an object in their order. A new object has no old version and one that
// has gone no present one: that is nil. The context ends with the controller.
//
// What is added to the queue because of an object that was there before the watch, or of an update that is none because the version is the
// same, waits behind all else, where the queue knows priorities.
type Func[R comparable] func(ctx context.Context, old, now client.Object, q Queue[R])

// Kind is a source of the events of a kind. A controller that watches it does not begin before all objects that there are have been heard of.
type Kind[R comparable] struct {
	cache crcache.Cache
	obj   client.Object
	hear  Func[R]

	done chan struct{} // closed when it is known whether it began
	err  error         // why it did not, to be read after done

	mu     sync.Mutex
	cancel context.CancelFunc // nil until it is started
}

var _ crsource.TypedSyncingSource[reconcile.Request] = (*Kind[reconcile.Request])(nil)

// Of returns a source of what happens to the objects of obj's kind. It is for one controller.
func Of[R comparable](cache crcache.Cache, obj client.Object, hear Func[R]) *Kind[R] {
	return &Kind[R]{cache: cache, obj: obj, hear: hear, done: make(chan struct{})}
}

// String names the source in the library's logs.
func (k *Kind[R]) String() string {
	if gvk := k.obj.GetObjectKind().GroupVersionKind(); !gvk.Empty() {
		return fmt.Sprintf("%T of %s", k.obj, gvk)
	}
	return fmt.Sprintf("%T", k.obj)
}

// Start implements source.TypedSource. It is called once.
func (k *Kind[R]) Start(ctx context.Context, q workqueue.TypedRateLimitingInterface[R]) error {
	ctx, cancel := context.WithCancel(ctx)
	k.mu.Lock()
	k.cancel = cancel
	k.mu.Unlock()
	go func() {
		defer close(k.done)
		k.err = k.begin(ctx, q)
	}()
	return nil
}

// WaitForSync implements source.TypedSyncingSource: it returns when the function has been called for all objects that there are. When
// ctx ends before, that is the end of the source.
func (k *Kind[R]) WaitForSync(ctx context.Context) error {
	select {
	case <-k.done:
		return k.err
	case <-ctx.Done():
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.cancel != nil {
		k.cancel()
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return nil
	}
	return fmt.Errorf("wait for the objects of %s: %w", k, ctx.Err())
}

// begin returns once the function has been called for all objects that there are.
func (k *Kind[R]) begin(ctx context.Context, q Queue[R]) error {
	informer, err := k.informer(ctx)
	if err != nil {
		return err
	}
	heard, err := informer.AddEventHandler(delivery(ctx, k.hear, q))
	if err != nil {
		return fmt.Errorf("watch %s: %w", k, err)
	}
	if !k.cache.WaitForCacheSync(ctx) {
		return fmt.Errorf("watch %s: %w", k, errNotSynced)
	}
	select {
	case <-heard.HasSyncedChecker().Done():
		return nil
	case <-ctx.Done():
		return fmt.Errorf("watch %s: %w", k, errNotSynced)
	}
}

var errNotSynced = errors.New("the cache was not synced")

// informer waits until the kind can be watched: its definition may be yet to come.
func (k *Kind[R]) informer(ctx context.Context) (informer crcache.Informer, err error) {
	var failed error
	err = wait.PollUntilContextCancel(ctx, retry, true, func(ctx context.Context) (bool, error) {
		if informer, failed = k.cache.GetInformer(ctx, k.obj); failed != nil {
			slog.Warn("cannot watch a kind", "kind", k.String(), "err", failed)
		}
		return failed == nil, nil
	})
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", k, errors.Join(err, failed))
	}
	return informer, nil
}

// delivery calls hear with what an informer delivers, and with the queue that it is to use.
func delivery[R comparable](ctx context.Context, hear Func[R], q Queue[R]) toolscache.ResourceEventHandler {
	late := behind(q)
	queue := func(waits bool) Queue[R] {
		if waits {
			return late
		}
		return q
	}
	return toolscache.ResourceEventHandlerDetailedFuncs{
		AddFunc: func(o any, initial bool) {
			if now, ok := object(o); ok {
				hear(ctx, nil, now, queue(initial))
			}
		},
		UpdateFunc: func(o, n any) {
			old, ok := object(o)
			now, too := object(n)
			if ok && too {
				hear(ctx, old, now, queue(old.GetResourceVersion() == now.GetResourceVersion()))
			}
		},
		DeleteFunc: func(o any) {
			if last, ok := o.(toolscache.DeletedFinalStateUnknown); ok {
				o = last.Obj // the deletion itself was missed
			}
			if old, ok := object(o); ok {
				hear(ctx, old, nil, q)
			}
		},
	}
}

func object(o any) (client.Object, bool) {
	obj, ok := o.(client.Object)
	if !ok {
		slog.Error("heard of what is no object", "type", fmt.Sprintf("%T", o))
	}
	return obj, ok
}
