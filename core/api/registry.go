package api

import (
	"fmt"
	"reflect"
	"slices"
	"sync/atomic"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Registry is the list of the kinds that a server serves, and its indexes. Those that it was made with never change;
// those that users define come and go by [Registry.SetCustom]. It is safe for concurrent use.
type Registry struct {
	builtin []*Resource
	now     atomic.Pointer[kinds]
	changes atomic.Int64
}

// kinds never changes.
type kinds struct {
	list   []*Resource
	byGVR  map[schema.GroupVersionResource]*Resource
	byGVK  map[schema.GroupVersionKind]*Resource
	byType map[reflect.Type]*Resource
}

// NewRegistry panics when two kinds claim one name: the list is part of the program.
func NewRegistry(list ...*Resource) *Registry {
	for _, r := range list {
		if r.toStored != nil {
			r.stored = storedOf(list, r)
			r.stored.versions = append(r.stored.versions, r)
		}
	}
	k, err := indexKinds(list)
	if err != nil {
		panic(err.Error())
	}
	g := &Registry{builtin: list}
	g.now.Store(k)
	return g
}

// SetCustom makes the kinds that users have defined exactly list, in one step. It fails, and changes nothing, when two
// kinds claim one name.
func (g *Registry) SetCustom(list []*Resource) error {
	k, err := indexKinds(slices.Concat(g.builtin, list))
	if err != nil {
		return err
	}
	g.now.Store(k)
	g.changes.Add(1)
	return nil
}

// Generation grows with every change of what users have defined.
func (g *Registry) Generation() int64 { return g.changes.Load() }

func indexKinds(list []*Resource) (*kinds, error) {
	k := &kinds{
		list:   list,
		byGVR:  map[schema.GroupVersionResource]*Resource{},
		byGVK:  map[schema.GroupVersionKind]*Resource{},
		byType: map[reflect.Type]*Resource{},
	}
	for _, r := range list {
		if k.byGVR[r.GroupVersionResource()] != nil || k.byGVK[r.GroupVersionKind()] != nil {
			return nil, fmt.Errorf("declared twice: %s", r.GroupVersionResource())
		}
		k.byGVR[r.GroupVersionResource()] = r
		k.byGVK[r.GroupVersionKind()] = r
		if !r.custom() {
			k.byType[r.typ] = r
		}
	}
	return k, nil
}

func storedOf(list []*Resource, r *Resource) *Resource {
	for _, other := range list {
		if other.toStored == nil && other.Group == r.storedGroup && other.Plural == r.Plural {
			return other
		}
	}
	panic(fmt.Sprintf("declared without its stored version: %s", r.GroupVersionResource()))
}

// All returns the kinds in the order of their declaration, each in all of its versions; the caller must not change the
// slice.
func (g *Registry) All() []*Resource { return g.now.Load().list }

// Builtin returns those of All that the registry was made with.
func (g *Registry) Builtin() []*Resource { return g.builtin }

// Stored returns the kinds of which there are objects in the store, each once, in its stored version.
func (g *Registry) Stored() []*Resource {
	return slices.DeleteFunc(slices.Clone(g.All()), func(r *Resource) bool { return r.Question || r.Computed || r.Stored() != r })
}

// StoredKind is the kind in which the objects of a resource are stored, false when none are.
func (g *Registry) StoredKind(gr schema.GroupResource) (schema.GroupVersionKind, bool) {
	for _, r := range g.Stored() {
		if r.GroupResource() == gr {
			return r.GroupVersionKind(), true
		}
	}
	return schema.GroupVersionKind{}, false
}

// Resource finds a kind by its URL, nil when it is not served.
func (g *Registry) Resource(gvr schema.GroupVersionResource) *Resource {
	return g.now.Load().byGVR[gvr]
}

// Kind finds a kind by its name on the wire, nil when it is not served.
func (g *Registry) Kind(gvk schema.GroupVersionKind) *Resource { return g.now.Load().byGVK[gvk] }

// ForType finds a kind by the Go type of its pointer or struct, nil when it is not served or has no type of its own.
func (g *Registry) ForType(t reflect.Type) *Resource {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return g.now.Load().byType[t]
}

// GroupVersions lists what discovery announces, in the order of declaration.
func (g *Registry) GroupVersions() []schema.GroupVersion {
	var out []schema.GroupVersion
	for _, r := range g.All() {
		if gv := r.GroupVersionResource().GroupVersion(); !slices.Contains(out, gv) {
			out = append(out, gv)
		}
	}
	return out
}
