// Package versioned shows kinds and their versions to the admission libraries of k8s.io/apiserver, which work with any version
// of an object that a rule may name.
package versioned

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/gantryio/gantry/core/api"
)

// Objects is all that the libraries want to know of objects.
type Objects struct {
	Registry *api.Registry
	// Body is the kind of the objects of a subresource, where that is another than the kind's own.
	Body schema.GroupVersionKind
}

var (
	_ admission.ObjectInterfaces       = Objects{}
	_ runtime.ObjectCreater            = Objects{}
	_ runtime.ObjectTyper              = Objects{}
	_ runtime.ObjectDefaulter          = Objects{}
	_ runtime.ObjectConvertor          = Objects{}
	_ runtime.EquivalentResourceMapper = Objects{}
)

// GetObjectCreater implements admission.ObjectInterfaces.
func (o Objects) GetObjectCreater() runtime.ObjectCreater { return o }

// GetObjectTyper implements admission.ObjectInterfaces.
func (o Objects) GetObjectTyper() runtime.ObjectTyper { return o }

// GetObjectDefaulter implements admission.ObjectInterfaces.
func (o Objects) GetObjectDefaulter() runtime.ObjectDefaulter { return o }

// GetObjectConvertor implements admission.ObjectInterfaces.
func (o Objects) GetObjectConvertor() runtime.ObjectConvertor { return o }

// GetEquivalentResourceMapper implements admission.ObjectInterfaces.
func (o Objects) GetEquivalentResourceMapper() runtime.EquivalentResourceMapper { return o }

// New implements runtime.ObjectCreater.
func (o Objects) New(gvk schema.GroupVersionKind) (runtime.Object, error) {
	if r := o.Registry.Kind(gvk); r != nil {
		obj := r.New()
		if r.Custom() {
			r.SetType(obj)
		}
		return obj, nil
	}
	return scheme.Scheme.New(gvk)
}

// ObjectKinds implements runtime.ObjectTyper.
func (o Objects) ObjectKinds(obj runtime.Object) ([]schema.GroupVersionKind, bool, error) {
	if gvk := obj.GetObjectKind().GroupVersionKind(); !gvk.Empty() {
		return []schema.GroupVersionKind{gvk}, false, nil
	}
	if r := o.kindOf(obj); r != nil {
		return []schema.GroupVersionKind{r.GroupVersionKind()}, false, nil
	}
	return scheme.Scheme.ObjectKinds(obj)
}

// Recognizes implements runtime.ObjectTyper.
func (o Objects) Recognizes(gvk schema.GroupVersionKind) bool {
	return o.Registry.Kind(gvk) != nil || scheme.Scheme.Recognizes(gvk)
}

// kindOf finds an object's kind, nil for what is the body of a subresource.
func (o Objects) kindOf(obj runtime.Object) *api.Resource {
	if _, untyped := obj.(*unstructured.Unstructured); !untyped {
		return o.Registry.ForType(reflect.TypeOf(obj))
	}
	return o.Registry.Kind(obj.GetObjectKind().GroupVersionKind())
}

// Default implements runtime.ObjectDefaulter. What a schema does not know is dropped first.
func (o Objects) Default(obj runtime.Object) {
	r := o.kindOf(obj)
	own, ok := obj.(api.Object)
	if r == nil || !ok {
		return
	}
	if r.Prune != nil {
		r.Prune(own)
	}
	if r.Default != nil {
		r.Default(own)
	}
}

// Convert implements runtime.ObjectConvertor; in may be used up.
func (o Objects) Convert(in, out, _ any) error {
	from, ok := in.(runtime.Object)
	to, ok2 := out.(runtime.Object)
	if !ok || !ok2 {
		return fmt.Errorf("convert a %T to a %T", in, out)
	}
	result, err := o.as(from, o.kindOf(to))
	if err != nil {
		return err
	}
	if reflect.TypeOf(result) != reflect.TypeOf(out) {
		return fmt.Errorf("convert a %T to a %T", in, out)
	}
	reflect.ValueOf(out).Elem().Set(reflect.ValueOf(result).Elem())
	return nil
}

// ConvertToVersion implements runtime.ObjectConvertor; in may be used up.
func (o Objects) ConvertToVersion(in runtime.Object, target runtime.GroupVersioner) (runtime.Object, error) {
	kinds, _, err := o.ObjectKinds(in)
	if err != nil {
		return nil, err
	}
	want, ok := target.KindForGroupVersionKinds(kinds)
	if !ok {
		return nil, fmt.Errorf("no version of %s is asked for", kinds[0])
	}
	if u, untyped := in.(*unstructured.Unstructured); untyped {
		if r := o.Registry.Kind(kinds[0]); r == nil || !r.Custom() {
			typed, err := o.New(kinds[0])
			if err != nil {
				return nil, err
			}
			if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, typed); err != nil {
				return nil, fmt.Errorf("read a %s: %w", kinds[0].Kind, err)
			}
			in = typed
		}
	}
	if want == kinds[0] {
		return in, nil
	}
	return o.as(in, o.Registry.Kind(want))
}

// as returns an object in the version to, which is nil where there is but one.
func (o Objects) as(in runtime.Object, to *api.Resource) (runtime.Object, error) {
	from := o.kindOf(in)
	if from == to {
		return in, nil
	}
	own, ok := in.(api.Object)
	if from == nil || to == nil || !ok || from.Stored() != to.Stored() {
		return nil, fmt.Errorf("convert a %T: no such version", in)
	}
	if to.Convert != nil {
		out, err := to.InVersion(context.Background(), []api.Object{own})
		if err != nil {
			return nil, err
		}
		return out[0], nil
	}
	return to.FromStored(from.ToStored(own)), nil
}

// ConvertFieldLabel implements runtime.ObjectConvertor.
func (o Objects) ConvertFieldLabel(schema.GroupVersionKind, string, string) (string, string, error) {
	return "", "", errors.New("fields are not converted")
}

// EquivalentResourcesFor implements runtime.EquivalentResourceMapper: these are the versions of a kind.
func (o Objects) EquivalentResourcesFor(gvr schema.GroupVersionResource, _ string) []schema.GroupVersionResource {
	r := o.Registry.Resource(gvr)
	if r == nil {
		return nil
	}
	var out []schema.GroupVersionResource
	for _, other := range o.Registry.All() {
		if other != r && other.Stored() == r.Stored() {
			out = append(out, other.GroupVersionResource())
		}
	}
	return slices.Clip(out)
}

// KindFor implements runtime.EquivalentResourceMapper.
func (o Objects) KindFor(gvr schema.GroupVersionResource, _ string) schema.GroupVersionKind {
	if o.Body.Kind != "" {
		return o.Body
	}
	if r := o.Registry.Resource(gvr); r != nil {
		return r.GroupVersionKind()
	}
	return schema.GroupVersionKind{}
}
