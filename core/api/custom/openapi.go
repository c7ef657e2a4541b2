package custom

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/kube-openapi/pkg/validation/spec"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/api/openapi"
	"github.com/gantryio/gantry/core/api/plugins/v1alpha1"
)

const (
	components = "#/components/schemas/"
	metaModels = "io.k8s.apimachinery.pkg.apis.meta.v1."

	kindExtension       = "x-kubernetes-group-version-kind"
	selectableExtension = "x-kubernetes-selectable-fields"
	freeExtension       = "x-kubernetes-preserve-unknown-fields"
)

// Kind is a defined kind in one of its versions.
type Kind struct {
	*api.Resource
	// Served tells that the version is not only stored.
	Served bool
	// Schema is that of an object, its type and metadata included.
	Schema *spec.Schema
}

// Model is the name of the kind's schema in documents: the group's labels from the last to the first, version and kind.
func (k Kind) Model() string {
	labels := strings.Split(k.Group, ".")
	slices.Reverse(labels)
	return strings.Join(append(labels, k.Version, k.Resource.Kind), ".")
}

// ListModel is the name of the schema of the kind's lists.
func (k Kind) ListModel() string {
	return strings.TrimSuffix(k.Model(), k.Resource.Kind) + k.ListKind
}

// complete adds to a schema what every object has, and so to the objects embedded in it.
func complete(s *spec.Schema, r *api.Resource, selectable []string) *spec.Schema {
	out := *s
	embed(&out)
	addIdentity(&out)
	out.Extensions = maps.Clone(out.Extensions)
	out.AddExtension(kindExtension, kinds(r.GroupVersionKind()))
	if len(selectable) > 0 {
		paths := make([]any, len(selectable))
		for i, f := range selectable {
			paths[i] = map[string]any{"fieldPath": f}
		}
		out.AddExtension(selectableExtension, paths)
	}
	return &out
}

func kinds(gvk schema.GroupVersionKind) []any {
	return []any{map[string]any{"group": gvk.Group, "version": gvk.Version, "kind": gvk.Kind}}
}

// list is the schema of the kind's lists.
func (k Kind) list() *spec.Schema {
	out := &spec.Schema{SchemaProps: spec.SchemaProps{
		Description: k.ListKind + " is a list of " + k.Resource.Kind, Type: spec.StringOrArray{"object"}, Required: []string{"items"},
	}}
	addIdentity(out)
	out.Properties["metadata"] = described("ListMeta", "Standard list metadata.")
	items := spec.ArrayProperty(spec.RefProperty(components + k.Model()))
	out.Properties["items"] = *items.WithDescription("List of " + k.Plural + ".")
	gvk := k.GroupVersionKind()
	gvk.Kind = k.ListKind
	out.AddExtension(kindExtension, kinds(gvk))
	return out
}

// embed adds type and metadata to the objects that the schema says are whole objects.
func embed(s *spec.Schema) {
	s.Properties = maps.Clone(s.Properties)
	for name, p := range s.Properties {
		embed(&p)
		if whole, _ := p.Extensions.GetBool("x-kubernetes-embedded-resource"); whole {
			addIdentity(&p)
		}
		s.Properties[name] = p
	}
	if s.Items != nil && s.Items.Schema != nil {
		item := *s.Items.Schema
		embed(&item)
		s.Items = &spec.SchemaOrArray{Schema: &item}
	}
	if s.AdditionalProperties != nil && s.AdditionalProperties.Schema != nil {
		value := *s.AdditionalProperties.Schema
		embed(&value)
		s.AdditionalProperties = &spec.SchemaOrBool{Allows: true, Schema: &value}
	}
}

func addIdentity(s *spec.Schema) {
	s.Properties = maps.Clone(s.Properties)
	if s.Properties == nil {
		s.Properties = map[string]spec.Schema{}
	}
	word := func(about string) spec.Schema {
		return *spec.StringProperty().WithDescription(about)
	}
	s.Properties["apiVersion"] = word("APIVersion defines the versioned schema of this representation of an object.")
	s.Properties["kind"] = word("Kind is a string value representing the REST resource this object represents.")
	s.Properties["metadata"] = described("ObjectMeta", "Standard object's metadata.")
}

// described refers to a schema of metadata in words of its own, which version 3 does not read beside a reference.
func described(model, about string) spec.Schema {
	out := spec.ComposedSchema(*spec.RefSchema(components + metaModels + model))
	return *out.WithDescription(about)
}

// metaSchemas are those that schemas of objects refer to.
var metaSchemas = sync.OnceValues(func() (map[string]*spec.Schema, error) {
	all, err := openapi.Schemas(v1alpha1.GroupVersion)
	if err != nil {
		return nil, err
	}
	maps.DeleteFunc(all, func(name string, _ *spec.Schema) bool { return !strings.HasPrefix(name, metaModels) })
	return all, nil
})

// Schemas returns the schemas of the kinds and of what they refer to, by name.
func Schemas(kinds ...Kind) (map[string]*spec.Schema, error) {
	meta, err := metaSchemas()
	if err != nil {
		return nil, fmt.Errorf("read the schemas of metadata: %w", err)
	}
	out := maps.Clone(meta)
	for _, k := range kinds {
		out[k.Model()], out[k.ListModel()] = k.Schema, k.list()
	}
	return out, nil
}

// Document is the OpenAPI 3 document of kinds of one group version: their schemas, and of their paths what tells clients which
// kind is where.
func Document(kinds []Kind) ([]byte, error) {
	schemas, err := Schemas(kinds...)
	if err != nil {
		return nil, err
	}
	paths := map[string]any{}
	for _, k := range kinds {
		addPaths(paths, k)
	}
	return json.Marshal(map[string]any{
		"openapi": "3.0.0", "info": map[string]any{"title": "Gantry", "version": "unversioned"},
		"paths": paths, "components": map[string]any{"schemas": schemas},
	})
}

// addPaths tells where a kind is, and what is sent there and answered.
func addPaths(paths map[string]any, k Kind) {
	operation := func(action, answer string, body bool) map[string]any {
		content := func(model string) map[string]any {
			return map[string]any{"application/json": map[string]any{"schema": map[string]any{"$ref": components + model}}}
		}
		out := map[string]any{
			"tags":        []string{strings.ReplaceAll(k.Group, ".", "_") + "_" + k.Version},
			"operationId": action + k.Resource.Kind, "x-kubernetes-action": action, kindExtension: kinds(k.GroupVersionKind())[0],
			"responses": map[string]any{"200": map[string]any{"description": "OK", "content": content(answer)}},
		}
		if body {
			out["requestBody"] = map[string]any{"content": content(k.Model())}
		}
		return out
	}
	one, status := k.Model(), metaModels+"Status"
	base := "/apis/" + k.APIVersion()
	if k.Namespaced {
		base += "/namespaces/{namespace}"
	}
	paths[base+"/"+k.Plural] = map[string]any{
		"get": operation("list", k.ListModel(), false), "post": operation("post", one, true),
		"delete": operation("deletecollection", status, false),
	}
	named := base + "/" + k.Plural + "/{name}"
	paths[named] = map[string]any{
		"get": operation("get", one, false), "put": operation("put", one, true), "patch": operation("patch", one, true),
		"delete": operation("delete", status, false),
	}
	if k.HasStatus {
		paths[named+"/status"] = map[string]any{
			"get": operation("get", one, false), "put": operation("put", one, true), "patch": operation("patch", one, true),
		}
	}
}
