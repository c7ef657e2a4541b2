package apiserver

import (
	"fmt"
	"reflect"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/cache"
)

// toStored turns what a client sent in the version that it speaks, and which is taken over, into the stored one.
func toStored(q *api.Request, obj api.Object) api.Object {
	if q.Version == nil {
		return obj
	}
	if q.Version.Default != nil {
		q.Version.Default(obj)
	}
	return q.Version.ToStored(obj)
}

// shown is an entry in the version that the client speaks. Where that is not the stored one, it is made for this answer.
func shown(q *api.Request, e *cache.Entry) *cache.Entry {
	if q.Version == nil {
		return e
	}
	return &cache.Entry{Key: e.Key, Revision: e.Revision, Object: q.Version.FromStored(e.Object)}
}

func shownAll(q *api.Request, entries []*cache.Entry) []*cache.Entry {
	if q.Version == nil {
		return entries
	}
	out := make([]*cache.Entry, len(entries))
	for i, e := range entries {
		out[i] = shown(q, e)
	}
	return out
}

// convertor lets the library compare what managers own in one version with objects of another. Within a version it is the
// scheme's.
type convertor struct {
	runtime.ObjectConvertor
	registry *api.Registry
}

// ConvertToVersion implements runtime.ObjectConvertor. Ownership in a version that is not served is forgotten, which the
// library does at this error.
func (c convertor) ConvertToVersion(in runtime.Object, target runtime.GroupVersioner) (runtime.Object, error) {
	gvk := in.GetObjectKind().GroupVersionKind()
	if r := c.registry.ForType(reflect.TypeOf(in)); r != nil {
		gvk = r.GroupVersionKind() // the library's empty objects do not say it
	}
	want, ok := target.KindForGroupVersionKinds([]schema.GroupVersionKind{gvk})
	if u, untyped := in.(*unstructured.Unstructured); ok && untyped {
		if r := c.registry.Kind(gvk); r == nil || r.Custom() {
			out := u.DeepCopy() // versions differ in nothing but their name
			out.SetGroupVersionKind(want)
			return out, nil
		}
	}
	if gv, exact := target.(schema.GroupVersion); !ok && exact {
		// The same kind may be in another group.
		if from, to := c.registry.Kind(gvk), c.registry.Kind(gv.WithKind(gvk.Kind)); from != nil && to != nil && from.Stored() == to.Stored() {
			want, ok = to.GroupVersionKind(), true
		}
	}
	if !ok || want == gvk {
		return c.ObjectConvertor.ConvertToVersion(in, target)
	}
	from, to := c.registry.Kind(gvk), c.registry.Kind(want)
	if from == nil || to == nil || from.Stored() != to.Stored() {
		return nil, runtime.NewNotRegisteredErrForKind("gantry", want)
	}
	obj, err := typedOf(from, in)
	if err != nil {
		return nil, err
	}
	return to.FromStored(from.ToStored(obj)), nil
}

// typedOf returns a copy of obj as its Go type.
func typedOf(r *api.Resource, in runtime.Object) (api.Object, error) {
	if u, ok := in.(*unstructured.Unstructured); ok {
		out := r.New()
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, out); err != nil {
			return nil, fmt.Errorf("read a %s: %w", r.Kind, err)
		}
		return out, nil
	}
	obj, ok := in.DeepCopyObject().(api.Object)
	if !ok {
		return nil, fmt.Errorf("convert a %T", in)
	}
	return obj, nil
}
