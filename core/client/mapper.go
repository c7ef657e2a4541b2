package client

import (
	"sync"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/gantryio/gantry/core/api"
)

// Mapper maps the registry's kinds to their URLs, those that users define included. It is safe for concurrent use.
type Mapper struct {
	registry *api.Registry

	mu         sync.Mutex
	generation int64
	known      *meta.DefaultRESTMapper
}

var _ meta.RESTMapper = (*Mapper)(nil)

// NewMapper returns a mapper of what the registry has when it is asked.
func NewMapper(g *api.Registry) *Mapper { return &Mapper{registry: g} }

// now is the mapper of the kinds that there are at this time.
func (m *Mapper) now() meta.RESTMapper {
	m.mu.Lock()
	defer m.mu.Unlock()
	if g := m.registry.Generation(); m.known == nil || g != m.generation {
		m.known, m.generation = mapKinds(m.registry), g
	}
	return m.known
}

func mapKinds(g *api.Registry) *meta.DefaultRESTMapper {
	m := meta.NewDefaultRESTMapper(g.GroupVersions())
	for _, r := range g.All() {
		scope := meta.RESTScopeRoot
		if r.Namespaced {
			scope = meta.RESTScopeNamespace
		}
		gvr := r.GroupVersionResource()
		m.AddSpecific(r.GroupVersionKind(), gvr, gvr.GroupVersion().WithResource(r.Singular), scope)
	}
	return m
}

// KindFor implements meta.RESTMapper.
func (m *Mapper) KindFor(gvr schema.GroupVersionResource) (schema.GroupVersionKind, error) {
	return m.now().KindFor(gvr)
}

// KindsFor implements meta.RESTMapper.
func (m *Mapper) KindsFor(gvr schema.GroupVersionResource) ([]schema.GroupVersionKind, error) {
	return m.now().KindsFor(gvr)
}

// ResourceFor implements meta.RESTMapper.
func (m *Mapper) ResourceFor(gvr schema.GroupVersionResource) (schema.GroupVersionResource, error) {
	return m.now().ResourceFor(gvr)
}

// ResourcesFor implements meta.RESTMapper.
func (m *Mapper) ResourcesFor(gvr schema.GroupVersionResource) ([]schema.GroupVersionResource, error) {
	return m.now().ResourcesFor(gvr)
}

// RESTMapping implements meta.RESTMapper.
func (m *Mapper) RESTMapping(gk schema.GroupKind, versions ...string) (*meta.RESTMapping, error) {
	return m.now().RESTMapping(gk, versions...)
}

// RESTMappings implements meta.RESTMapper.
func (m *Mapper) RESTMappings(gk schema.GroupKind, versions ...string) ([]*meta.RESTMapping, error) {
	return m.now().RESTMappings(gk, versions...)
}

// ResourceSingularizer implements meta.RESTMapper.
func (m *Mapper) ResourceSingularizer(resource string) (string, error) {
	return m.now().ResourceSingularizer(resource)
}
