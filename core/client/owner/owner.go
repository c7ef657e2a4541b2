// Package owner is what all controllers that own objects share: finding what they own, adopting and
// releasing by labels, remembering writes that a cache does not show yet, and writing several objects at a
// time. It exists so that the rules by which no object is doubled, lost or fought over are in one place.
package owner

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// The indexes that [Index] makes: objects by the UID of their controller, and those without one by their
// namespace.
const (
	ByController = "owner.controller"
	ByOrphanhood = "owner.orphan"
)

// Index makes lists of obj's kind by [ByController] and [ByOrphanhood] cheap. Several controllers may call
// it for one kind.
func Index(ctx context.Context, x client.FieldIndexer, obj client.Object) error {
	return errors.Join(
		unlessThere(x.IndexField(ctx, obj, ByController, Controllers)),
		unlessThere(x.IndexField(ctx, obj, ByOrphanhood, Orphanhood)),
	)
}

// unlessThere takes that another controller made the index, as client-go reports it, for success.
func unlessThere(err error) error {
	if err != nil && strings.Contains(err.Error(), "indexer conflict") {
		return nil
	}
	return err
}

// Controllers are the values of [ByController].
func Controllers(o client.Object) []string {
	if ref := metav1.GetControllerOfNoCopy(o); ref != nil {
		return []string{string(ref.UID)}
	}
	return nil
}

// Orphanhood are the values of [ByOrphanhood].
func Orphanhood(o client.Object) []string {
	if metav1.GetControllerOfNoCopy(o) == nil {
		return []string{o.GetNamespace()}
	}
	return nil
}

// Claim is an owner that wants to control all objects that its selector matches.
type Claim[T client.Object] struct {
	Client client.Client
	// Live reads past any cache.
	Live     client.Reader
	Owner    client.Object
	Kind     schema.GroupVersionKind
	Selector labels.Selector
	// Adoptable narrows what is adopted; nil for all that Selector matches.
	Adoptable func(T) bool
}

var errDeleted = errors.New("it was deleted")

// Settle releases those of owned that the selector no longer matches, adopts those of orphans that it
// does, and returns what the owner controls then. An owner that is being deleted neither releases nor
// adopts; before an adoption the owner is looked up past the cache.
func (c *Claim[T]) Settle(ctx context.Context, owned, orphans []T) ([]T, error) {
	out := make([]T, 0, len(owned))
	ending := c.Owner.GetDeletionTimestamp() != nil
	for _, o := range owned {
		switch {
		case c.Selector.Matches(labels.Set(o.GetLabels())):
			out = append(out, o)
		case !ending:
			if err := c.release(ctx, o); err != nil {
				return nil, err
			}
		}
	}
	if ending {
		return out, nil
	}
	orphans = slices.DeleteFunc(slices.Clone(orphans), func(o T) bool { return !c.wants(o) })
	if len(orphans) == 0 {
		return out, nil
	}
	if err := c.stillThere(ctx); err != nil {
		return nil, err
	}
	for _, o := range orphans {
		taken := o.DeepCopyObject().(T)
		taken.SetOwnerReferences(append(taken.GetOwnerReferences(), *metav1.NewControllerRef(c.Owner, c.Kind)))
		if err := c.patch(ctx, taken, o); err != nil {
			return nil, fmt.Errorf("adopt %s: %w", o.GetName(), err)
		}
		out = append(out, taken)
	}
	return out, nil
}

func (c *Claim[T]) wants(o T) bool {
	return metav1.GetControllerOfNoCopy(o) == nil && o.GetDeletionTimestamp() == nil &&
		c.Selector.Matches(labels.Set(o.GetLabels())) && (c.Adoptable == nil || c.Adoptable(o))
}

func (c *Claim[T]) release(ctx context.Context, o T) error {
	free := o.DeepCopyObject().(T)
	free.SetOwnerReferences(slices.DeleteFunc(free.GetOwnerReferences(), func(ref metav1.OwnerReference) bool {
		return ref.UID == c.Owner.GetUID()
	}))
	if err := c.patch(ctx, free, o); err != nil {
		return fmt.Errorf("release %s: %w", o.GetName(), err)
	}
	return nil
}

// patch writes a change of references; that the object is gone is no error.
func (c *Claim[T]) patch(ctx context.Context, to, from T) error {
	return client.IgnoreNotFound(c.Client.Patch(ctx, to, client.MergeFromWithOptions(from, client.MergeFromWithOptimisticLock{})))
}

func (c *Claim[T]) stillThere(ctx context.Context) error {
	fresh := reflect.New(reflect.TypeOf(c.Owner).Elem()).Interface().(client.Object)
	if err := c.Live.Get(ctx, client.ObjectKeyFromObject(c.Owner), fresh); err != nil {
		return fmt.Errorf("check %s %s before adopting: %w", c.Kind.Kind, c.Owner.GetName(), err)
	}
	if fresh.GetUID() != c.Owner.GetUID() || fresh.GetDeletionTimestamp() != nil {
		return fmt.Errorf("adopt for %s %s: %w", c.Kind.Kind, c.Owner.GetName(), errDeleted)
	}
	return nil
}

// parallel is how many objects of one owner are written at a time.
const parallel = 32

// AtOnce calls do for 0 to n-1, several at a time. After the first error it begins no further calls, waits
// for those that run, and returns that error.
func AtOnce(n int, do func(i int) error) error {
	var mu sync.Mutex
	var failed error
	next := 0
	take := func() (int, bool) {
		mu.Lock()
		defer mu.Unlock()
		if next == n || failed != nil {
			return 0, false
		}
		next++
		return next - 1, true
	}
	var wg sync.WaitGroup
	for range min(n, parallel) {
		wg.Go(func() {
			for i, ok := take(); ok; i, ok = take() {
				if err := do(i); err != nil {
					mu.Lock()
					if failed == nil {
						failed = err
					}
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return failed
}
