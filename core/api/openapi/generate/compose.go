package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/kube-openapi/pkg/util"

	"github.com/gantryio/gantry/core/api"
)

// composer writes the paths of kinds in one version of OpenAPI.
type composer struct {
	three   bool
	schemas object
	used    map[string]bool
	paths   object
}

func composeV2(registry *api.Registry, schemas object) object {
	c := &composer{schemas: schemas, used: map[string]bool{}, paths: object{}}
	c.addKinds(registry.All())
	return object{
		"swagger": "2.0", "info": object{"title": "Gantry", "version": "v1.37"},
		"paths": c.paths, "definitions": c.definitions(registry.All()),
	}
}

func composeV3(kinds []*api.Resource, schemas object) object {
	c := &composer{three: true, schemas: schemas, used: map[string]bool{}, paths: object{}}
	c.addKinds(kinds)
	return object{
		"openapi": "3.0.0", "info": object{"title": "Gantry", "version": "v1.37"},
		"paths": c.paths, "components": object{"schemas": c.definitions(kinds)},
	}
}

func (c *composer) addKinds(kinds []*api.Resource) {
	for _, r := range kinds {
		c.addKind(r)
	}
}

// operation is one verb at one path.
type operation struct {
	method, action string
	kind           schema.GroupVersionKind
	body, answer   string // names of schemas
	parameters     []object
}

func (c *composer) addKind(r *api.Resource) {
	gvk := r.GroupVersionKind()
	one := typeName(r)
	list := one + "List"
	base := "/api/" + r.Version
	if r.Group != "" {
		base = "/apis/" + r.Group + "/" + r.Version
	}
	scoped := base
	if r.Question {
		if r.Namespaced {
			scoped += "/namespaces/{namespace}"
		}
		c.add(scoped+"/"+r.Plural, operation{"post", "post", gvk, one, one, writeParameters})
		return
	}
	if r.Namespaced {
		scoped += "/namespaces/{namespace}"
		c.add(base+"/"+r.Plural, operation{"get", "list", gvk, "", list, listParameters})
	}
	if r.Computed {
		c.add(scoped+"/"+r.Plural, operation{"get", "list", gvk, "", list, listParameters})
		c.add(scoped+"/"+r.Plural+"/{name}", operation{"get", "get", gvk, "", one, nil})
		return
	}
	const meta = "io.k8s.apimachinery.pkg.apis.meta.v1."
	c.add(scoped+"/"+r.Plural,
		operation{"get", "list", gvk, "", list, listParameters},
		operation{"post", "post", gvk, one, one, writeParameters},
		operation{"delete", "deletecollection", gvk, meta + "DeleteOptions", meta + "Status", deleteParameters},
	)
	named := scoped + "/" + r.Plural + "/{name}"
	c.add(named,
		operation{"get", "get", gvk, "", one, nil},
		operation{"put", "put", gvk, one, one, writeParameters},
		operation{"patch", "patch", gvk, meta + "Patch", one, patchParameters},
		operation{"delete", "delete", gvk, meta + "DeleteOptions", meta + "Status", deleteParameters},
	)
	sub := func(name, typ string, kind schema.GroupVersionKind) {
		c.add(named+"/"+name,
			operation{"get", "get", kind, "", typ, nil},
			operation{"put", "put", kind, typ, typ, writeParameters},
			operation{"patch", "patch", kind, meta + "Patch", typ, patchParameters},
		)
	}
	if r.HasStatus {
		sub("status", one, gvk)
	}
	for name := range r.Parts {
		if name != "status" {
			sub(name, one, gvk)
		}
	}
	if r.HasScale {
		sub("scale", "io.k8s.api.autoscaling.v1.Scale", schema.GroupVersionKind{Group: "autoscaling", Version: "v1", Kind: "Scale"})
	}
}

func typeName(r *api.Resource) string {
	return util.ToRESTFriendlyName(r.Type().PkgPath() + "." + r.Type().Name())
}

func (c *composer) add(path string, operations ...operation) {
	item := object{}
	var common []any
	for _, word := range []string{"name", "namespace"} {
		if strings.Contains(path, "{"+word+"}") {
			p := c.parameter(object{"name": word, "in": "path", "required": true, "type": "string"})
			common = append(common, p)
		}
	}
	if len(common) > 0 {
		item["parameters"] = common
	}
	for _, o := range operations {
		item[o.method] = c.operation(path, o)
	}
	c.paths[path] = item
}

func (c *composer) operation(path string, o operation) object {
	id := strings.NewReplacer("/", "_", "{", "", "}", "", ".", "_").Replace(strings.Trim(path, "/"))
	out := object{
		"operationId":                     o.action + "_" + id,
		"x-kubernetes-action":             o.action,
		"x-kubernetes-group-version-kind": gvkObject(o.kind),
		"responses":                       object{"200": c.response(o.answer)},
	}
	var parameters []any
	for _, p := range o.parameters {
		parameters = append(parameters, c.parameter(p))
	}
	if o.body != "" {
		types := []any{"application/json", "application/yaml", "application/vnd.kubernetes.protobuf"}
		if o.method == "patch" {
			types = []any{
				"application/json-patch+json", "application/merge-patch+json",
				"application/strategic-merge-patch+json", "application/apply-patch+yaml",
			}
		}
		if c.three {
			out["requestBody"] = object{"content": c.content(o.body, types), "required": o.method != "delete"}
		} else {
			out["consumes"] = types
			parameters = append(parameters, object{"name": "body", "in": "body", "required": o.method != "delete", "schema": c.ref(o.body)})
		}
	}
	if !c.three {
		out["produces"] = []any{"application/json", "application/yaml", "application/vnd.kubernetes.protobuf"}
	}
	if len(parameters) > 0 {
		out["parameters"] = parameters
	}
	return out
}

func (c *composer) response(name string) object {
	if c.three {
		return object{"description": "OK", "content": c.content(name, []any{"application/json", "application/yaml"})}
	}
	return object{"description": "OK", "schema": c.ref(name)}
}

func (c *composer) content(name string, types []any) object {
	out := object{}
	for _, t := range types {
		out[t.(string)] = object{"schema": c.ref(name)}
	}
	return out
}

// parameter turns a parameter of version 2 into that of the version at hand.
func (c *composer) parameter(p object) object {
	if !c.three {
		return p
	}
	out := object{"schema": object{"type": p["type"], "uniqueItems": true}}
	for key, value := range p {
		if key != "type" && key != "uniqueItems" {
			out[key] = value
		}
	}
	return out
}

func (c *composer) ref(name string) object {
	c.use(name)
	if c.three {
		return object{"$ref": "#/components/schemas/" + name}
	}
	return object{"$ref": definitions + name}
}

// use marks a schema and all that it refers to.
func (c *composer) use(name string) {
	if c.used[name] {
		return
	}
	if c.schemas[name] == nil {
		panic(fmt.Sprintf("no schema is called %s", name))
	}
	c.used[name] = true
	c.useRefs(c.schemas[name])
}

func (c *composer) useRefs(v any) {
	switch v := v.(type) {
	case object:
		for key, value := range v {
			if ref, ok := value.(string); ok && key == "$ref" {
				c.use(strings.TrimPrefix(ref, definitions))
			} else {
				c.useRefs(value)
			}
		}
	case []any:
		for _, one := range v {
			c.useRefs(one)
		}
	}
}

const v2Schema = "x-kubernetes-v2-schema"

// definitions returns the used schemas, those of kinds with the extension that clients find them by.
func (c *composer) definitions(kinds []*api.Resource) object {
	gvks := map[string]schema.GroupVersionKind{}
	for _, r := range kinds {
		list := r.GroupVersionKind()
		list.Kind += "List"
		gvks[typeName(r)], gvks[typeName(r)+"List"] = r.GroupVersionKind(), list
	}
	gvks["io.k8s.api.autoscaling.v1.Scale"] = schema.GroupVersionKind{Group: "autoscaling", Version: "v1", Kind: "Scale"}
	out := object{}
	for name := range c.used {
		definition := c.clone(c.schemas[name])
		// Types that are one of several in version 3 carry what version 2 can say of them.
		if two, ok := definition[v2Schema].(object); ok && !c.three {
			definition = two
		}
		delete(definition, v2Schema)
		if gvk, ok := gvks[name]; ok {
			definition["x-kubernetes-group-version-kind"] = []any{gvkObject(gvk)}
		}
		out[name] = definition
	}
	return out
}

// clone copies a schema for the version at hand. In version 3 a reference has nothing beside it, so what
// stands there is kept by wrapping it.
func (c *composer) clone(v any) object {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	if c.three {
		data = bytes.ReplaceAll(data, []byte(definitions), []byte("#/components/schemas/"))
	}
	var out object
	if err := json.Unmarshal(data, &out); err != nil {
		panic(err)
	}
	if c.three {
		wrapRefs(out)
	}
	return out
}

func wrapRefs(v any) {
	switch v := v.(type) {
	case object:
		// A schema of schemas has a property of that name, which is no reference.
		if ref, ok := v["$ref"].(string); ok && len(v) > 1 {
			delete(v, "$ref")
			v["allOf"] = []any{object{"$ref": ref}}
			return
		}
		for _, value := range v {
			wrapRefs(value)
		}
	case []any:
		for _, one := range v {
			wrapRefs(one)
		}
	}
}

func gvkObject(gvk schema.GroupVersionKind) object {
	return object{"group": gvk.Group, "version": gvk.Version, "kind": gvk.Kind}
}
