package apiserver

import (
	"log/slog"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"sigs.k8s.io/structured-merge-diff/v6/typed"

	"github.com/gantryio/gantry/core/api/openapi"
	"github.com/gantryio/gantry/core/api/plugins/v1alpha1"
)

// converters is the library's converter for Kubernetes' kinds, and one for Gantry's own, which the library
// does not know.
type converters struct {
	Kubernetes, own managedfields.TypeConverter
}

var _ managedfields.TypeConverter = converters{}

func (c converters) of(obj runtime.Object) managedfields.TypeConverter {
	if obj.GetObjectKind().GroupVersionKind().Group == v1alpha1.GroupVersion.Group {
		return c.own
	}
	return c.Kubernetes
}

// ObjectToTyped implements managedfields.TypeConverter.
func (c converters) ObjectToTyped(obj runtime.Object, opts ...typed.ValidationOptions) (*typed.TypedValue, error) {
	return c.of(obj).ObjectToTyped(obj, opts...)
}

// TypedToObject implements managedfields.TypeConverter. Both converters do the same.
func (c converters) TypedToObject(v *typed.TypedValue) (runtime.Object, error) {
	return c.Kubernetes.TypedToObject(v)
}

// ownConverter goes by the schemas that are published. Without them it deduces what it can.
func ownConverter() managedfields.TypeConverter {
	schemas, err := openapi.Schemas(v1alpha1.GroupVersion)
	if err == nil {
		var made managedfields.TypeConverter
		if made, err = managedfields.NewTypeConverter(schemas, false); err == nil {
			return made
		}
	}
	slog.Error("cannot use the schemas of Gantry's own kinds", "err", err)
	return managedfields.NewDeducedTypeConverter()
}
