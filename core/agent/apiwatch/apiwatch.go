// Package apiwatch follows a few objects of the API through a controller-runtime client: one list, then a watch, with
// client-go's reflector underneath. The agent needs no indexers and no resyncs, so its store is just a callback.
package apiwatch

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Handler is told of what changed. Its calls come one at a time. Objects are shared and must not be changed.
type Handler interface {
	// Replace gives the whole set, at first and after the watch had to start over.
	Replace(objs []client.Object)
	Put(obj client.Object)
	Remove(obj client.Object)
}

// Source is what to follow.
type Source struct {
	API  client.WithWatch
	Name string
	// List returns an empty list of the kind; Object an empty object of it.
	List    func() client.ObjectList
	Object  client.Object
	Options []client.ListOption
}

// Run follows the source until the context ends.
func Run(ctx context.Context, s Source, h Handler) {
	logger := klog.Logger(logr.FromSlogHandler(slog.Default().Handler()))
	lw := &cache.ListWatch{ListWithContextFunc: s.list, WatchFuncWithContext: s.watch}
	r := cache.NewReflectorWithOptions(cache.ToListWatcherWithWatchListSemantics(lw, plain{}), s.Object, store{h}, cache.ReflectorOptions{
		Logger: &logger, Name: s.Name,
		Backoff: &wait.Backoff{Duration: 50 * time.Millisecond, Factor: 2, Jitter: 0.5, Steps: 10, Cap: 5 * time.Second},
	})
	r.RunWithContext(ctx)
}

var _ cache.ReflectorStore = store{}

// plain tells the reflector to list and then watch: the sets here are small, and a list in the same process costs
// nothing.
type plain struct{}

func (plain) IsWatchListSemanticsUnSupported() bool { return true }

func (s Source) list(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
	list := s.List()
	if err := s.API.List(ctx, list, s.options(o)...); err != nil {
		return nil, fmt.Errorf("list %s: %w", s.Name, err)
	}
	return list, nil
}

func (s Source) watch(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
	return s.API.Watch(ctx, s.List(), s.options(o)...)
}

func (s Source) options(o metav1.ListOptions) []client.ListOption {
	return append([]client.ListOption{&client.ListOptions{Raw: &o}}, s.Options...)
}

type store struct{ h Handler }

func (s store) Add(obj any) error    { s.h.Put(obj.(client.Object)); return nil }
func (s store) Update(obj any) error { s.h.Put(obj.(client.Object)); return nil }
func (s store) Delete(obj any) error { s.h.Remove(obj.(client.Object)); return nil }
func (s store) Resync() error        { return nil }

func (s store) Replace(list []any, _ string) error {
	objs := make([]client.Object, 0, len(list))
	for _, o := range list {
		objs = append(objs, o.(client.Object))
	}
	s.h.Replace(objs)
	return nil
}
