package apiserver

import (
	"fmt"
	"sync"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/client-go/kubernetes/scheme"
	smdschema "sigs.k8s.io/structured-merge-diff/v6/schema"
	"sigs.k8s.io/structured-merge-diff/v6/typed"
	"sigs.k8s.io/structured-merge-diff/v6/value"
)

// trusting is the library's type converter without its check that Go objects have the shape of their
// own type, which would be half the cost of recording ownership. What clients sent untyped is checked.
type trusting struct {
	managedfields.TypeConverter
	shapes sync.Map // schema.GroupVersionKind → shape
}

var _ managedfields.TypeConverter = (*trusting)(nil)

type shape struct {
	schema *smdschema.Schema
	ref    smdschema.TypeRef
}

// ObjectToTyped implements managedfields.TypeConverter.
func (t *trusting) ObjectToTyped(obj runtime.Object, opts ...typed.ValidationOptions) (*typed.TypedValue, error) {
	if _, untyped := obj.(runtime.Unstructured); untyped {
		return t.TypeConverter.ObjectToTyped(obj, opts...)
	}
	s, err := t.shape(obj.GetObjectKind().GroupVersionKind())
	if err != nil {
		return nil, err
	}
	v, err := value.NewValueReflect(obj)
	if err != nil {
		return nil, fmt.Errorf("reflect %T: %w", obj, err)
	}
	return typed.AsTypedUnvalidated(v, s.schema, s.ref), nil
}

// shape learns a kind's schema from an empty object.
func (t *trusting) shape(gvk schema.GroupVersionKind) (shape, error) {
	if have, ok := t.shapes.Load(gvk); ok {
		return have.(shape), nil
	}
	empty, err := scheme.Scheme.New(gvk)
	if err != nil {
		return shape{}, err
	}
	empty.GetObjectKind().SetGroupVersionKind(gvk)
	tv, err := t.TypeConverter.ObjectToTyped(empty)
	if err != nil {
		return shape{}, fmt.Errorf("learn the schema of %s: %w", gvk, err)
	}
	s := shape{tv.Schema(), tv.TypeRef()}
	t.shapes.Store(gvk, s)
	return s, nil
}
