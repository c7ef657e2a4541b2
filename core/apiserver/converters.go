package apiserver

import (
	"log/slog"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/client-go/kubernetes/scheme"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	"sigs.k8s.io/structured-merge-diff/v6/typed"

	"github.com/gantryio/gantry/core/api/openapi"
	"github.com/gantryio/gantry/core/api/plugins/v1alpha1"
)

// converters is the library's converter for the kinds of k8s.io/api, and one for each other group, which the library does not
// know.
type converters struct {
	Kubernetes managedfields.TypeConverter
	others     map[string]managedfields.TypeConverter // by group
}

var _ managedfields.TypeConverter = converters{}

func (c converters) of(obj runtime.Object) managedfields.TypeConverter {
	if other, ok := c.others[obj.GetObjectKind().GroupVersionKind().Group]; ok {
		return other
	}
	return c.Kubernetes
}

// ObjectToTyped implements managedfields.TypeConverter.
func (c converters) ObjectToTyped(obj runtime.Object, opts ...typed.ValidationOptions) (*typed.TypedValue, error) {
	return c.of(obj).ObjectToTyped(obj, opts...)
}

// TypedToObject implements managedfields.TypeConverter. All converters do the same.
func (c converters) TypedToObject(v *typed.TypedValue) (runtime.Object, error) {
	return c.Kubernetes.TypedToObject(v)
}

// otherConverters go by the schemas that are published. Without them they deduce what they can.
func otherConverters() map[string]managedfields.TypeConverter {
	out := map[string]managedfields.TypeConverter{}
	for _, gv := range []schema.GroupVersion{v1alpha1.GroupVersion, apiextensionsv1.SchemeGroupVersion, apiregistrationv1.SchemeGroupVersion} {
		schemas, err := openapi.Schemas(gv)
		if err == nil {
			out[gv.Group], err = managedfields.NewTypeConverter(schemas, false)
		}
		if err != nil {
			slog.Error("cannot use the schemas of a group", "group", gv.Group, "err", err)
			out[gv.Group] = managedfields.NewDeducedTypeConverter()
		}
	}
	return out
}

// TypeConverter knows the schema of a kind; it is nil for a kind that is not served.
func (s *Server) TypeConverter(gvk schema.GroupVersionKind) managedfields.TypeConverter {
	switch r := s.Registry.Kind(gvk); {
	case r != nil && r.Custom():
		return s.managed.converterOf(r)
	case r != nil || scheme.Scheme.Recognizes(gvk):
		return s.managed.converter()
	}
	return nil
}
