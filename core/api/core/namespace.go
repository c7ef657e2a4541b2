package core

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/validation"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api"
)

// Namespaces is all that the server, the printer and the docs know of Namespace.
var Namespaces = api.Kind[corev1.Namespace]{
	Version: "v1", Name: "Namespace", Plural: "namespaces", Short: []string{"ns"},
	Subresources:   api.Status,
	StatusMetadata: true,
	Default:        defaultNamespace,
	Prepare:        prepareNamespace,
	ValidateName:   validation.ValidateNamespaceName,
	Validate:       validateNamespace,
	ValidateStatus: validateNamespaceStatus,
	MarkDeleted:    endNamespace,
	Held:           namespaceHeld,
	Columns: []api.Column[corev1.Namespace]{
		api.NameColumn[corev1.Namespace](),
		{
			Name: "Status", Description: "The status of the namespace",
			Cell: func(ns *corev1.Namespace) any { return string(ns.Status.Phase) },
		},
		api.AgeColumn[corev1.Namespace](),
	},
	Fields: map[string]func(*corev1.Namespace) string{
		"status.phase": func(ns *corev1.Namespace) string { return string(ns.Status.Phase) },
	},
}

// defaultNamespace labels the namespace with its name, so that label selectors can pick it.
func defaultNamespace(ns *corev1.Namespace) {
	if ns.Name != "" {
		if ns.Labels == nil {
			ns.Labels = map[string]string{}
		}
		ns.Labels[corev1.LabelMetadataName] = ns.Name
	}
	setDefault(&ns.Status.Phase, corev1.NamespaceActive)
}

// prepareNamespace gives a new namespace its phase and the finalizer that only the namespace controller
// removes; an update keeps the finalizers, which have a subresource of their own.
func prepareNamespace(ns, old *corev1.Namespace) {
	defaultNamespace(ns)
	if old != nil {
		ns.Spec.Finalizers = old.Spec.Finalizers
		return
	}
	ns.Status = corev1.NamespaceStatus{Phase: corev1.NamespaceActive}
	if !slices.Contains(ns.Spec.Finalizers, corev1.FinalizerKubernetes) {
		ns.Spec.Finalizers = append(ns.Spec.Finalizers, corev1.FinalizerKubernetes)
	}
}

func validateNamespace(ns, _ *corev1.Namespace) field.ErrorList {
	return ValidateNamespaceFinalizers(ns)
}

// ValidateNamespaceFinalizers checks spec.finalizers; the finalize subresource changes nothing else.
func ValidateNamespaceFinalizers(ns *corev1.Namespace) field.ErrorList {
	var errs field.ErrorList
	for i, f := range ns.Spec.Finalizers {
		p := field.NewPath("spec", "finalizers").Index(i)
		errs = append(errs, validation.ValidateFinalizerName(string(f), p)...)
		if f != corev1.FinalizerKubernetes && len(utilvalidation.IsQualifiedName(string(f))) == 0 && !strings.Contains(string(f), "/") {
			errs = append(errs, field.Invalid(p, f, "name is neither a standard finalizer name nor is it fully qualified"))
		}
	}
	return errs
}

func validateNamespaceStatus(ns, _ *corev1.Namespace) field.ErrorList {
	p, phase := field.NewPath("status", "Phase"), ns.Status.Phase
	switch {
	case ns.DeletionTimestamp.IsZero() && phase != corev1.NamespaceActive:
		return field.ErrorList{field.Invalid(p, phase, "may only be 'Active' if `deletionTimestamp` is empty")}
	case !ns.DeletionTimestamp.IsZero() && phase != corev1.NamespaceTerminating:
		return field.ErrorList{field.Invalid(p, phase, "may only be 'Terminating' if `deletionTimestamp` is not empty")}
	}
	return nil
}
