package custom

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"k8s.io/kube-openapi/pkg/validation/spec"
)

const definitions = "#/definitions/"

// Swagger is the OpenAPI 2 document of kinds. It says less than that of version 3: what clients of the older version cannot
// read is left out, as Kubernetes does.
func Swagger(kinds []Kind) (*spec.Swagger, error) {
	schemas, err := Schemas(kinds...)
	if err != nil {
		return nil, err
	}
	doc := map[string]any{"swagger": "2.0", "info": map[string]any{"title": "Gantry", "version": "unversioned"}}
	models, paths := map[string]*spec.Schema{}, map[string]any{}
	for name, s := range schemas {
		models[name] = older(s)
	}
	for _, k := range kinds {
		models[k.Model()] = olderKind(k.Schema)
		addOlderPaths(paths, k)
	}
	doc["definitions"], doc["paths"] = models, paths
	data, err := json.Marshal(doc)
	if err != nil {
		return nil, fmt.Errorf("marshal schemas: %w", err)
	}
	out := &spec.Swagger{}
	if err := out.UnmarshalJSON([]byte(strings.ReplaceAll(string(data), `"$ref":"`+components, `"$ref":"`+definitions))); err != nil {
		return nil, fmt.Errorf("read schemas: %w", err)
	}
	return out, nil
}

// olderKind is the schema of whole objects. Where they may have unknown fields at their top, it names no field at all: kubectl
// would take those for all that there are.
func olderKind(in *spec.Schema) *spec.Schema {
	if free, _ := in.Extensions.GetBool(freeExtension); !free {
		return older(in)
	}
	out := &spec.Schema{SchemaProps: spec.SchemaProps{Type: spec.StringOrArray{"object"}}}
	for _, name := range []string{kindExtension, selectableExtension} {
		if value, ok := in.Extensions[name]; ok {
			out.AddExtension(name, value)
		}
	}
	return out
}

// older leaves out of a schema what version 2 does not have, and what kubectl of that time stumbled upon: the insides of objects
// that may be null or have unknown fields.
func older(in *spec.Schema) *spec.Schema {
	if in == nil {
		return nil
	}
	s := *in
	if len(s.AllOf) == 1 && s.AllOf[0].Ref.String() != "" {
		s.Ref = s.AllOf[0].Ref // only version 3 has to wrap it
	}
	s.AllOf, s.OneOf, s.AnyOf, s.Not = nil, nil, nil, nil
	free, _ := s.Extensions.GetBool(freeExtension)
	if s.Nullable || free {
		s.Items, s.Properties = nil, nil
	}
	if s.Nullable || s.Items == nil && s.Type.Contains("array") || free && s.Type.Contains("object") {
		s.Type = nil
	}
	s.Nullable = false
	if s.Items != nil {
		s.Items = &spec.SchemaOrArray{Schema: older(s.Items.Schema)}
	}
	if a := s.AdditionalProperties; a != nil && a.Schema != nil {
		s.AdditionalProperties = &spec.SchemaOrBool{Allows: a.Allows, Schema: older(a.Schema)}
	}
	properties := map[string]spec.Schema{}
	for name, p := range s.Properties {
		properties[name] = *older(&p)
	}
	s.Required = slices.DeleteFunc(slices.Clone(s.Required), func(name string) bool { return s.Properties[name].Nullable })
	if s.Properties != nil {
		s.Properties = properties
	}
	return &s
}

// addOlderPaths tells where a kind is, and of which kind what is sent is.
func addOlderPaths(paths map[string]any, k Kind) {
	found := map[string]any{}
	addPaths(found, k)
	schemaOf := func(content any) any {
		return content.(map[string]any)["content"].(map[string]any)["application/json"].(map[string]any)["schema"]
	}
	for path, methods := range found {
		for _, o := range methods.(map[string]any) {
			operation := o.(map[string]any)
			answer := operation["responses"].(map[string]any)["200"]
			operation["responses"] = map[string]any{"200": map[string]any{"description": "OK", "schema": schemaOf(answer)}}
			if body, ok := operation["requestBody"]; ok {
				delete(operation, "requestBody")
				operation["parameters"] = []any{map[string]any{"name": "body", "in": "body", "required": true, "schema": schemaOf(body)}}
			}
		}
		paths[path] = methods
	}
}
