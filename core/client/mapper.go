package client

import (
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/gantryio/gantry/core/api"
)

// NewMapper maps the registry's kinds to their URLs.
func NewMapper(g *api.Registry) meta.RESTMapper {
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
