package apiserver

import (
	"context"
	"fmt"
	"reflect"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/cache"
)

// toStored turns what a client sent in the version that it speaks, and which is taken over, into the stored one.
func toStored(ctx context.Context, q *api.Request, obj api.Object) (api.Object, error) {
	if q.Version == nil {
		return obj, nil
	}
	if q.Version.Default != nil {
		q.Version.Default(obj)
	}
	if q.Version.Convert != nil && obj.GetNamespace() == "" && q.Resource.Namespaced {
		obj.SetNamespace(q.Namespace) // whoever converts it sees what will be stored
	}
	return q.Version.ForStore(ctx, obj)
}

// converts tells that what q asks for may not be stored in the version that the client speaks, and others may have to be asked to convert it.
func converts(q *api.Request) bool { return q.Version != nil || q.Resource.Convert != nil }

// shown is an entry in the version that the client speaks. Where that is not the stored one, it is made for this answer.
func shown(ctx context.Context, q *api.Request, e *cache.Entry) (*cache.Entry, error) {
	if !converts(q) {
		return e, nil
	}
	out, err := shownAll(ctx, q, []*cache.Entry{e})
	if err != nil {
		return nil, err
	}
	return out[0], nil
}

func shownAll(ctx context.Context, q *api.Request, entries []*cache.Entry) ([]*cache.Entry, error) {
	if !converts(q) {
		return entries, nil
	}
	objs := make([]api.Object, len(entries))
	for i, e := range entries {
		objs[i] = e.Object
	}
	objs, err := q.Spoken().InVersion(ctx, objs)
	if err != nil {
		return nil, err
	}
	out := make([]*cache.Entry, len(entries))
	for i, e := range entries {
		if out[i] = e; objs[i] != e.Object {
			out[i] = &cache.Entry{Key: e.Key, Revision: e.Revision, Object: objs[i]}
		}
	}
	return out, nil
}

// inStored returns an entry in the stored version; its object may have been stored in a former one.
func inStored(ctx context.Context, r *api.Resource, e *cache.Entry) (*cache.Entry, error) {
	if r.Convert == nil {
		return e, nil
	}
	objs, err := r.InVersion(ctx, []api.Object{e.Object})
	if err != nil || objs[0] == e.Object {
		return e, err
	}
	return &cache.Entry{Key: e.Key, Revision: e.Revision, Object: objs[0], Former: true}, nil
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
		if r := c.registry.Kind(gvk); r != nil && r.Convert != nil && want != gvk {
			return convertUntyped(r, c.registry.Kind(want), u)
		} else if r == nil || r.Custom() {
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

// convertUntyped asks the webhook of a definition. The library has no context to give; the webhook's own time bounds the call.
func convertUntyped(from, to *api.Resource, u *unstructured.Unstructured) (runtime.Object, error) {
	if to == nil || from.Stored() != to.Stored() {
		return nil, runtime.NewNotRegisteredErrForKind("gantry", u.GroupVersionKind())
	}
	if u.GetName() == "" && u.GetUID() == "" {
		out := u.DeepCopy() // the library's empty object, which is none that a webhook knows
		to.SetType(out)
		return out, nil
	}
	out, err := to.InVersion(context.Background(), []api.Object{u})
	if err != nil {
		return nil, err
	}
	return out[0], nil
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
