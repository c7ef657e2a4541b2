// Package objects follows the single ConfigMaps and Secrets that pods on this node use, each by a watch of its own that
// lives as long as somebody uses the object. So an agent need not be able to read more than its pods refer to, and a
// change reaches a volume at once.
package objects

import (
	"context"
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/fields"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gantryio/gantry/core/agent/apiwatch"
)

// Kind is what can be followed.
type Kind string

// The kinds.
const (
	ConfigMap Kind = "ConfigMap"
	Secret    Kind = "Secret"
)

// Key names an object.
type Key struct {
	Kind            Kind
	Namespace, Name string
}

// Cache shares watches between users of the same object.
type Cache struct {
	API client.WithWatch

	mu      sync.Mutex
	entries map[Key]*entry
}

type entry struct {
	mu     sync.Mutex
	key    Key
	obj    client.Object
	refs   map[*Set]bool
	cancel context.CancelFunc
}

// Set is one user's references. Its methods may be called at the same time.
type Set struct {
	cache  *Cache
	notify func()
	mu     sync.Mutex
	held   map[Key]*entry
}

// NewSet returns an empty set of references. Notify is called, from any goroutine, when an object in it changed.
func (c *Cache) NewSet(notify func()) *Set {
	return &Set{cache: c, notify: notify, held: map[Key]*entry{}}
}

// Get reads an object live and follows it from now on. A nil object without an error does not exist, and is followed
// too, so that its creation notifies.
func (s *Set) Get(ctx context.Context, key Key) (client.Object, error) {
	obj := key.Kind.object()
	err := s.cache.API.Get(ctx, client.ObjectKey{Namespace: key.Namespace, Name: key.Name}, obj)
	switch {
	case apierrors.IsNotFound(err):
		obj = nil
	case err != nil:
		return nil, fmt.Errorf("get %s %s/%s: %w", key.Kind, key.Namespace, key.Name, err)
	}
	s.follow(key, obj)
	return obj, nil
}

func (k Kind) object() client.Object {
	if k == Secret {
		return &corev1.Secret{}
	}
	return &corev1.ConfigMap{}
}

func (k Kind) list() client.ObjectList {
	if k == Secret {
		return &corev1.SecretList{}
	}
	return &corev1.ConfigMapList{}
}

func (s *Set) follow(key Key, seen client.Object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held[key] != nil {
		return
	}
	s.cache.mu.Lock()
	defer s.cache.mu.Unlock()
	e := s.cache.entries[key]
	if e == nil {
		ctx, cancel := context.WithCancel(context.Background())
		e = &entry{key: key, obj: seen, refs: map[*Set]bool{}, cancel: cancel}
		if s.cache.entries == nil {
			s.cache.entries = map[Key]*entry{}
		}
		s.cache.entries[key] = e
		go apiwatch.Run(ctx, apiwatch.Source{
			API: s.cache.API, Name: fmt.Sprintf("%s %s/%s", key.Kind, key.Namespace, key.Name),
			List: key.Kind.list, Object: key.Kind.object(),
			Options: []client.ListOption{
				client.InNamespace(key.Namespace),
				client.MatchingFieldsSelector{Selector: fields.OneTermEqualSelector("metadata.name", key.Name)},
			},
		}, e)
	}
	e.mu.Lock()
	e.refs[s] = true
	e.mu.Unlock()
	s.held[key] = e
}

// Close lets go of all objects. Watches that nobody uses any more end.
func (s *Set) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cache.mu.Lock()
	defer s.cache.mu.Unlock()
	for key, e := range s.held {
		e.mu.Lock()
		delete(e.refs, s)
		last := len(e.refs) == 0
		e.mu.Unlock()
		if last {
			e.cancel()
			delete(s.cache.entries, key)
		}
	}
	s.held = map[Key]*entry{}
}

var _ apiwatch.Handler = (*entry)(nil)

// Replace implements apiwatch.Handler.
func (e *entry) Replace(objs []client.Object) {
	for _, o := range objs {
		if o.GetName() == e.key.Name && o.GetNamespace() == e.key.Namespace {
			e.set(o)
			return
		}
	}
	e.set(nil)
}

// Put implements apiwatch.Handler.
func (e *entry) Put(o client.Object) {
	if o.GetName() == e.key.Name && o.GetNamespace() == e.key.Namespace {
		e.set(o)
	}
}

// Remove implements apiwatch.Handler.
func (e *entry) Remove(o client.Object) {
	if o.GetName() == e.key.Name && o.GetNamespace() == e.key.Namespace {
		e.set(nil)
	}
}

func (e *entry) set(o client.Object) {
	e.mu.Lock()
	same := version(e.obj) == version(o)
	e.obj = o
	var tell []*Set
	if !same {
		for s := range e.refs {
			tell = append(tell, s)
		}
	}
	e.mu.Unlock()
	for _, s := range tell {
		s.notify()
	}
}

func version(o client.Object) string {
	if o == nil {
		return ""
	}
	return string(o.GetUID()) + "/" + o.GetResourceVersion()
}
