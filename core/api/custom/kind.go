// Package custom turns a CustomResourceDefinition into kinds that the server can serve. It is pure: what a definition means
// does not depend on anything else. Schemas, pruning, defaulting and validation are those of k8s.io/apiextensions-apiserver.
package custom

import (
	"fmt"
	"strings"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/objectmeta"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	celconfig "k8s.io/apiserver/pkg/apis/cel"

	"github.com/gantryio/gantry/core/api"
	internal "github.com/gantryio/gantry/core/api/apiextensions"
)

// version is one version of a defined kind.
type version struct {
	structural *schema.Structural
	validator  validation.SchemaValidator
	rules      *cel.Validator // nil when there are none
	scale      *apiextensions.CustomResourceSubresourceScale
}

// Kinds returns the kinds that a definition declares, one for each version that is served or stored, the stored one first
// and the others in order of preference. A conversion by a webhook is for the caller to add.
func Kinds(d *apiextensionsv1.CustomResourceDefinition) ([]Kind, error) {
	def, err := internal.Internal(d)
	if err != nil {
		return nil, err
	}
	var out []Kind
	for i := range def.Spec.Versions {
		if v := &def.Spec.Versions[i]; v.Storage {
			r := api.NewCustom(def.Spec.Group, v.Name, def.Spec.Names.Kind, def.Spec.Names.Plural)
			k, err := describe(r, def, v)
			if err != nil {
				return nil, err
			}
			out = append(out, k)
		}
	}
	if len(out) != 1 {
		return nil, fmt.Errorf("definition %s has %d stored versions, want one", d.Name, len(out))
	}
	for i := range def.Spec.Versions {
		v := &def.Spec.Versions[i]
		if v.Storage || !v.Served {
			continue
		}
		k, err := describe(api.NewCustomVersion(out[0].Resource, v.Name), def, v)
		if err != nil {
			return nil, err
		}
		out = append(out, k)
	}
	return out, nil
}

// describe fills r with what the version says.
func describe(r *api.Resource, def *apiextensions.CustomResourceDefinition, v *apiextensions.CustomResourceDefinitionVersion) (Kind, error) {
	names := &def.Spec.Names
	r.ListKind, r.Singular, r.Short, r.Categories = names.ListKind, names.Singular, names.ShortNames, names.Categories
	r.Namespaced = def.Spec.Scope == apiextensions.NamespaceScoped
	r.UnconditionalUpdateForbidden = true
	r.Terminating = def.DeletionTimestamp != nil
	if sub := or(v.Subresources, def.Spec.Subresources); sub != nil {
		r.HasStatus = sub.Status != nil
		if sub.Scale != nil {
			r.HasScale = true
			r.GetScale, r.SetScale = scaleHooks(sub.Scale)
		}
	}
	made, err := newVersion(def, v)
	if err != nil {
		return Kind{}, fmt.Errorf("version %s of definition %s: %w", v.Name, def.Name, err)
	}
	r.Prune, r.Default = made.prune, made.fill
	r.Validate, r.ValidateStatus = made.validate, made.validateStatus
	r.Warn = warnOfFinalizers
	if err := addColumns(r, or(&v.AdditionalPrinterColumns, &def.Spec.AdditionalPrinterColumns)); err != nil {
		return Kind{}, fmt.Errorf("columns of definition %s: %w", def.Name, err)
	}
	selectable, err := addFields(r, or(&v.SelectableFields, &def.Spec.SelectableFields))
	if err != nil {
		return Kind{}, fmt.Errorf("fields of definition %s: %w", def.Name, err)
	}
	return Kind{Resource: r, Served: v.Served, Schema: complete(made.structural.ToKubeOpenAPI(), r, selectable)}, nil
}

// or is what a version says, or else what the definition says for all.
func or[T any](ofVersion, ofAll *T) *T {
	switch v := any(ofVersion).(type) {
	case *[]apiextensions.CustomResourceColumnDefinition:
		if len(*v) == 0 {
			return ofAll
		}
	case *[]apiextensions.SelectableField:
		if len(*v) == 0 {
			return ofAll
		}
	}
	if ofVersion == nil {
		return ofAll
	}
	return ofVersion
}

func newVersion(def *apiextensions.CustomResourceDefinition, v *apiextensions.CustomResourceDefinitionVersion) (*version, error) {
	given := or(v.Schema, def.Spec.Validation)
	if given == nil || given.OpenAPIV3Schema == nil {
		return nil, fmt.Errorf("there is no schema")
	}
	structural, err := schema.NewStructural(given.OpenAPIV3Schema)
	if err != nil {
		return nil, fmt.Errorf("read the schema: %w", err)
	}
	if err := defaulting.PruneDefaults(structural); err != nil {
		return nil, fmt.Errorf("prune the defaults: %w", err)
	}
	validator, _, err := validation.NewSchemaValidator(given.OpenAPIV3Schema)
	if err != nil {
		return nil, fmt.Errorf("compile the schema: %w", err)
	}
	out := &version{structural: structural, validator: validator, rules: cel.NewValidator(structural, true, celconfig.PerCallLimit)}
	if sub := or(v.Subresources, def.Spec.Subresources); sub != nil {
		out.scale = sub.Scale
	}
	return out, nil
}

// prune drops what the schema does not know.
func (v *version) prune(obj api.Object) []string {
	content := obj.(*unstructured.Unstructured).Object
	unknown := pruning.PruneWithOptions(content, v.structural, true, schema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true})
	_ = objectmeta.Coerce(nil, content, v.structural, false, true)
	defaulting.PruneNonNullableNullsWithoutDefaults(content, v.structural)
	return unknown
}

// fill sets the schema's defaults.
func (v *version) fill(obj api.Object) {
	defaulting.Default(obj.(*unstructured.Unstructured).Object, v.structural)
}

// steps are the names in a path such as ".spec.replicas".
func steps(path string) []string { return strings.Split(strings.TrimPrefix(path, "."), ".") }
