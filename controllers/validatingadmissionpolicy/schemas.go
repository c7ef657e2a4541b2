package validatingadmissionpolicy

import (
	"fmt"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/cel/openapi/resolver"
	"k8s.io/kube-openapi/pkg/validation/spec"

	"github.com/gantryio/gantry/core/api/custom"
	"github.com/gantryio/gantry/core/api/openapi"
)

// schemas are those of the kinds that definitions declare, and of the server's own.
type schemas []apiextensionsv1.CustomResourceDefinition

var _ resolver.SchemaResolver = schemas(nil)

// ResolveSchema implements resolver.SchemaResolver.
func (s schemas) ResolveSchema(gvk schema.GroupVersionKind) (*spec.Schema, error) {
	for i := range s {
		if s[i].Spec.Group != gvk.Group || s[i].Spec.Names.Kind != gvk.Kind {
			continue
		}
		kinds, err := custom.Kinds(&s[i])
		if err != nil {
			return nil, err
		}
		for _, k := range kinds {
			if k.GroupVersionKind() != gvk {
				continue
			}
			all, err := custom.Schemas(k)
			if err != nil {
				return nil, err
			}
			return pick(all, gvk)
		}
	}
	// Documents are read for each look, for policies change seldom and documents are large.
	all, err := openapi.Schemas(gvk.GroupVersion())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", resolver.ErrSchemaNotFound, err)
	}
	return pick(all, gvk)
}

const references = "#/components/schemas/"

// pick finds the schema of a kind and puts in place what it refers to.
func pick(all map[string]*spec.Schema, gvk schema.GroupVersionKind) (*spec.Schema, error) {
	for name, s := range all {
		var kinds []schema.GroupVersionKind
		if err := s.Extensions.GetObject("x-kubernetes-group-version-kind", &kinds); err != nil {
			return nil, fmt.Errorf("read the kind of %s: %w", name, err)
		}
		for _, k := range kinds {
			if k == gvk {
				return resolver.PopulateRefs(func(ref string) (*spec.Schema, bool) {
					found, ok := all[strings.TrimPrefix(ref, references)]
					return found, ok
				}, references+name)
			}
		}
	}
	return nil, fmt.Errorf("%s: %w", gvk, resolver.ErrSchemaNotFound)
}
