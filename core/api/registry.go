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
	return g
}

// All returns the kinds in the order of their declaration; the caller must not change the slice.
func (g *Registry) All() []*Resource { return g.list }

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
