package admission

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// NamespaceLifecycle refuses new objects in namespaces that are absent or being deleted, and the deletion
// of the namespaces that the system needs.
type NamespaceLifecycle struct{ Objects Reader }

var (
	_ Mutator   = NamespaceLifecycle{}
	_ Validator = NamespaceLifecycle{}
)

var immortal = map[string]bool{"default": true, "kube-system": true, "kube-public": true}

// Name implements [Plugin].
func (NamespaceLifecycle) Name() string { return "NamespaceLifecycle" }

// Admit implements [Mutator]; it comes first of all, before anything is spent on the object.
func (p NamespaceLifecycle) Admit(ctx context.Context, a *Attributes) error {
	if a.Operation != Create || !a.Resource.Namespaced || a.Subresource != "" {
		return nil
	}
	ns, err := p.Objects.Namespace(ctx, a.Namespace)
	if err != nil {
		return err
	}
	if ns == nil {
		return apierrors.NewNotFound(schema.GroupResource{Resource: "namespaces"}, a.Namespace)
	}
	if ns.DeletionTimestamp == nil {
		return nil
	}
	refused := apierrors.NewForbidden(a.Resource.GroupResource(), a.Object.GetName(), fmt.Errorf(
		"unable to create new content in namespace %s because it is being terminated", a.Namespace))
	refused.ErrStatus.Details.Causes = []metav1.StatusCause{{
		Type: corev1.NamespaceTerminatingCause, Field: "metadata.namespace",
		Message: fmt.Sprintf("namespace %s is being terminated", a.Namespace),
	}}
	return refused
}

// Validate implements [Validator].
func (NamespaceLifecycle) Validate(_ context.Context, a *Attributes) error {
	if a.Operation == Delete && a.Resource.Kind == "Namespace" && a.Resource.Group == "" && immortal[a.Name] {
		return apierrors.NewForbidden(a.Resource.GroupResource(), a.Name, fmt.Errorf("this namespace may not be deleted"))
	}
	return nil
}
