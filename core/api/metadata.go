package api

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// Metadata returns the metadata of obj: that of an object with a Go type itself, of another one a copy.
func Metadata(obj runtime.Object) *metav1.ObjectMeta {
	switch o := obj.(type) {
	case metav1.ObjectMetaAccessor:
		if meta, ok := o.GetObjectMeta().(*metav1.ObjectMeta); ok {
			return meta
		}
	case *unstructured.Unstructured:
		meta, _ := MetadataOf(o)
		return meta
	}
	return &metav1.ObjectMeta{}
}

// MetadataOf reads the metadata of an object without a Go type. The error says which field is not as it should be.
func MetadataOf(u *unstructured.Unstructured) (*metav1.ObjectMeta, error) {
	var out metav1.PartialObjectMetadata
	content, ok := u.Object["metadata"].(map[string]any)
	if !ok {
		return &out.ObjectMeta, nil
	}
	err := runtime.DefaultUnstructuredConverter.FromUnstructured(map[string]any{"metadata": content}, &out)
	return &out.ObjectMeta, err
}
