package client

import (
	"sync"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/gantryio/gantry/core/api"
)

// Mapping is a RESTMapper that is found anew for each question.
type Mapping func() meta.RESTMapper

var _ meta.RESTMapper = Mapping(nil)

// Mapper maps the registry's kinds to their URLs, those that users define included. It is safe for concurrent use.
type Mapper struct {
	Mapping
	registry *api.Registry

	mu         sync.Mutex
	generation int64
	known      *meta.DefaultRESTMapper
}

var _ meta.RESTMapper = (*Mapper)(nil)

// NewMapper returns a mapper of what the registry has when it is asked.
func NewMapper(g *api.Registry) *Mapper {
	m := &Mapper{registry: g}
	m.Mapping = m.now
	return m
}

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
func (m Mapping) KindFor(gvr schema.GroupVersionResource) (schema.GroupVersionKind, error) {
	return m().KindFor(gvr)
}

// KindsFor implements meta.RESTMapper.
func (m Mapping) KindsFor(gvr schema.GroupVersionResource) ([]schema.GroupVersionKind, error) {
	return m().KindsFor(gvr)
}

// ResourceFor implements meta.RESTMapper.
func (m Mapping) ResourceFor(gvr schema.GroupVersionResource) (schema.GroupVersionResource, error) {
	return m().ResourceFor(gvr)
}

// ResourcesFor implements meta.RESTMapper.
func (m Mapping) ResourcesFor(gvr schema.GroupVersionResource) ([]schema.GroupVersionResource, error) {
	return m().ResourcesFor(gvr)
}

// RESTMapping implements meta.RESTMapper.
func (m Mapping) RESTMapping(gk schema.GroupKind, versions ...string) (*meta.RESTMapping, error) {
	return m().RESTMapping(gk, versions...)
}

// RESTMappings implements meta.RESTMapper.
func (m Mapping) RESTMappings(gk schema.GroupKind, versions ...string) ([]*meta.RESTMapping, error) {
	return m().RESTMappings(gk, versions...)
}

// ResourceSingularizer implements meta.RESTMapper.
func (m Mapping) ResourceSingularizer(resource string) (string, error) {
	return m().ResourceSingularizer(resource)
}
