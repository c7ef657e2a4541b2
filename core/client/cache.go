package client

import (
	"context"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	crcache "sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/cache"
)

// Cache is controller-runtime's cache over the watch cache of the process. It holds nothing of its own:
// reads are walks over the shared state, and an informer is a cursor for each of its handlers.
type Cache struct {
	from     *cache.Cache
	registry *api.Registry

	started chan struct{}
	once    sync.Once
	ctx     context.Context

	mu        sync.Mutex
	informers map[informerKey]*informer
}

type informerKey struct {
	resource *api.Resource
	partial  bool
}

var _ crcache.Cache = (*Cache)(nil)

// NewCache returns a cache that begins to deliver once it is started.
func NewCache(from *cache.Cache, registry *api.Registry) *Cache {
	return &Cache{from: from, registry: registry, started: make(chan struct{}), informers: map[informerKey]*informer{}}
}

// Start implements cache.Cache: it lets the informers run until ctx ends.
func (c *Cache) Start(ctx context.Context) error {
	c.once.Do(func() {
		c.ctx = ctx
		close(c.started)
	})
	<-ctx.Done()
	return nil
}

// WaitForCacheSync implements cache.Cache.
func (c *Cache) WaitForCacheSync(ctx context.Context) bool {
	for _, ready := range []<-chan struct{}{c.started, c.from.Synced()} {
		select {
		case <-ready:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// Get implements client.Reader.
func (c *Cache) Get(ctx context.Context, key types.NamespacedName, out client.Object, _ ...client.GetOption) error {
	return get(ctx, c.registry, c.from, key, out)
}

// List implements client.Reader.
func (c *Cache) List(ctx context.Context, out client.ObjectList, opts ...client.ListOption) error {
	return list(ctx, c.registry, c.from, out, opts)
}

// IndexField implements client.FieldIndexer. Lists in this process by MatchingFields then cost what they
// return. Of a kind with a conversion webhook values is given what is stored.
func (c *Cache) IndexField(_ context.Context, obj client.Object, name string, values client.IndexerFunc) error {
	r, err := resourceOf(c.registry, obj)
	if err != nil {
		return err
	}
	if r.Computed {
		return errNotCached(r)
	}
	c.from.Of(r.Stored()).AddIndex(name, func(o api.Object) []string { return values(r.FromStored(o).(client.Object)) })
	return nil
}

// GetInformer implements cache.Cache.
func (c *Cache) GetInformer(_ context.Context, obj client.Object, _ ...crcache.InformerGetOption) (crcache.Informer, error) {
	r, err := resourceOf(c.registry, obj)
	if err != nil {
		return nil, err
	}
	if r.Computed {
		return nil, errNotCached(r)
	}
	_, partial := obj.(*metav1.PartialObjectMetadata)
	return c.informer(r, partial), nil
}

// GetInformerForKind implements cache.Cache.
func (c *Cache) GetInformerForKind(_ context.Context, gvk schema.GroupVersionKind, _ ...crcache.InformerGetOption) (crcache.Informer, error) {
	r := c.registry.Kind(gvk)
	if r == nil {
		return nil, runtime.NewNotRegisteredErrForKind(scheme.Scheme.Name(), gvk)
	}
	if r.Computed {
		return nil, errNotCached(r)
	}
	return c.informer(r, false), nil
}

// RemoveInformer implements cache.Cache.
func (c *Cache) RemoveInformer(_ context.Context, obj client.Object) error {
	r, err := resourceOf(c.registry, obj)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, partial := range []bool{false, true} {
		key := informerKey{r, partial}
		if have := c.informers[key]; have != nil {
			have.stop()
			delete(c.informers, key)
		}
	}
	return nil
}

func (c *Cache) informer(r *api.Resource, partial bool) *informer {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := informerKey{r, partial}
	if c.informers[key] == nil {
		c.informers[key] = &informer{cache: c, informerKey: key, handlers: map[*registration]struct{}{}}
	}
	return c.informers[key]
}
