package podsecurity

import (
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/pod-security-admission/api"

	"github.com/gantryio/gantry/core/admission"
)

// write shows a write to the library. It is no more than a pointer, so that showing it allocates nothing.
type write struct{ *admission.Attributes }

var _ api.Attributes = write{}

// GetName implements api.Attributes.
func (w write) GetName() string { return w.Name }

// GetNamespace implements api.Attributes; a namespace lies in itself.
func (w write) GetNamespace() string {
	if _, ok := w.Object.(*corev1.Namespace); ok {
		return w.Name
	}
	return w.Namespace
}

// GetResource implements api.Attributes.
func (w write) GetResource() schema.GroupVersionResource { return w.Resource.GroupVersionResource() }

// GetKind implements api.Attributes.
func (w write) GetKind() schema.GroupVersionKind { return w.Resource.GroupVersionKind() }

// GetSubresource implements api.Attributes.
func (w write) GetSubresource() string { return w.Subresource }

// GetObject implements api.Attributes.
func (w write) GetObject() (runtime.Object, error) { return w.Object, nil }

// GetOldObject implements api.Attributes.
func (w write) GetOldObject() (runtime.Object, error) { return w.Old, nil }

// GetOperation implements api.Attributes.
func (w write) GetOperation() admissionv1.Operation { return admissionv1.Operation(w.Operation) }

// GetUserName implements api.Attributes.
func (w write) GetUserName() string {
	if w.User == nil {
		return ""
	}
	return w.User.GetName()
}
