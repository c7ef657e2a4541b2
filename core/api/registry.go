package api

import (
	"fmt"
	"reflect"
	"slices"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Registry is the list of the kinds that a server serves, and its indexes. It never changes.
type Registry struct {
	list   []*Resource
	byGVR  map[schema.GroupVersionResource]*Resource
	byGVK  map[schema.GroupVersionKind]*Resource
	byType map[reflect.Type]*Resource
}

// NewRegistry panics when two kinds claim one name: the list is part of the program.
func NewRegistry(list ...*Resource) *Registry {
	g := &Registry{
		list:   list,
		byGVR:  map[schema.GroupVersionResource]*Resource{},
		byGVK:  map[schema.GroupVersionKind]*Resource{},
		byType: map[reflect.Type]*Resource{},
	}
	for _, r := range list {
		if g.byGVR[r.GroupVersionResource()] != nil || g.byGVK[r.GroupVersionKind()] != nil {
			panic(fmt.Sprintf("declared twice: %s", r.GroupVersionResource()))
		}
		g.byGVR[r.GroupVersionResource()] = r
		g.byGVK[r.GroupVersionKind()] = r
		g.byType[r.typ] = r
	}
	for _, r := range list {
		if r.toStored != nil {
			r.stored = storedOf(list, r)
		}
	}
	return g
}

func storedOf(list []*Resource, r *Resource) *Resource {
	for _, other := range list {
		if other.toStored == nil && other.GroupResource() == r.GroupResource() {
			return other
		}
	}
	panic(fmt.Sprintf("declared without its stored version: %s", r.GroupVersionResource()))
}

// All returns the kinds in the order of their declaration, each in all of its versions; the caller must not change the
// slice.
func (g *Registry) All() []*Resource { return g.list }

// Stored returns the kinds of which there are objects in the store, each once, in its stored version.
func (g *Registry) Stored() []*Resource {
	return slices.DeleteFunc(slices.Clone(g.list), func(r *Resource) bool { return r.Question || r.Computed || r.Stored() != r })
}

// Resource finds a kind by its URL, nil when it is not served.
func (g *Registry) Resource(gvr schema.GroupVersionResource) *Resource { return g.byGVR[gvr] }

// Kind finds a kind by its name on the wire, nil when it is not served.
func (g *Registry) Kind(gvk schema.GroupVersionKind) *Resource { return g.byGVK[gvk] }

// ForType finds a kind by the Go type of its pointer or struct, nil when it is not served.
func (g *Registry) ForType(t reflect.Type) *Resource {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return g.byType[t]
}

// GroupVersions lists what discovery announces, in the order of declaration.
func (g *Registry) GroupVersions() []schema.GroupVersion {
	var out []schema.GroupVersion
	for _, r := range g.list {
		if gv := r.GroupVersionResource().GroupVersion(); !slices.Contains(out, gv) {
			out = append(out, gv)
		}
	}
	return out
}
