package api

import (
	"maps"
	"reflect"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// NewCustom describes a kind whose objects have no Go type and are *unstructured.Unstructured, as those that a
// CustomResourceDefinition declares. They are stored as JSON under their group, as Kubernetes does. What else there is to
// say of the kind is set by the caller before anybody else sees it.
func NewCustom(group, version, kind, plural string) *Resource {
	r := newResource(group, version, kind, plural, &unstructured.Unstructured{})
	r.StoragePrefix = group + "/" + plural
	r.Generation = true
	return r
}

// NewCustomVersion describes of in another version, which differs from it in nothing but its name. What else there is to
// say of the version is set by the caller.
func NewCustomVersion(of *Resource, version string) *Resource {
	r := NewCustom(of.Group, version, of.Kind, of.Plural)
	r.stored = of
	r.toStored = func(obj Object) Object { return obj }
	r.fromStored = func(stored Object) Object { return shallowCustomCopy(stored) }
	return r
}

var customType = reflect.TypeFor[unstructured.Unstructured]()

// custom tells that objects are maps rather than structs.
func (r *Resource) custom() bool { return r.typ == customType }

// Custom tells that objects have no Go type of their own.
func (r *Resource) Custom() bool { return r.custom() }

func content(obj Object) map[string]any { return obj.(*unstructured.Unstructured).Object }

// shallowCustomCopy copies the first level and metadata, which is what the accessors of metadata write to.
func shallowCustomCopy(obj Object) Object {
	out := maps.Clone(content(obj))
	if meta, ok := out["metadata"].(map[string]any); ok {
		out["metadata"] = maps.Clone(meta)
	}
	return &unstructured.Unstructured{Object: out}
}

func (r *Resource) copyCustomStatus(dst, src Object) {
	if !r.HasStatus {
		return // then status is a field like any other
	}
	delete(content(dst), "status")
	if src == nil {
		return
	}
	if status, ok := content(src)["status"]; ok {
		content(dst)["status"] = status
	}
}

// eachCustomField visits what is neither type, metadata nor status.
func (r *Resource) eachCustomField(obj Object, visit func(name string, value any)) {
	for name, value := range content(obj) {
		if name == "apiVersion" || name == "kind" || name == "metadata" || name == "status" && r.HasStatus {
			continue
		}
		visit(name, value)
	}
}

func (r *Resource) clearCustomBody(obj Object) {
	r.eachCustomField(obj, func(name string, _ any) { delete(content(obj), name) })
}

func (r *Resource) sameCustomBody(a, b Object) bool {
	bodies := [2]map[string]any{{}, {}}
	for i, obj := range []Object{a, b} {
		r.eachCustomField(obj, func(name string, value any) { bodies[i][name] = value })
	}
	return equality.Semantic.DeepEqual(bodies[0], bodies[1])
}
