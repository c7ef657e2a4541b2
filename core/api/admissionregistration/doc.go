// Package admissionregistration declares the kinds of the group admissionregistration.k8s.io/v1: what the server, the printer
// and the store know of webhook configurations, admission policies and their bindings. Who asks them is in core/admission.
package admissionregistration

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

const group = "admissionregistration.k8s.io"

// oneOf refuses what is not in the list; nil is for somebody else to judge.
func oneOf[T ~string](p *field.Path, value *T, supported ...T) field.ErrorList {
	if value == nil || slices.Contains(supported, *value) {
		return nil
	}
	return field.ErrorList{field.NotSupported(p, *value, supported)}
}

func setDefault[T any](p **T, value T) {
	if *p == nil {
		*p = &value
	}
}

// validateSelector checks a selector; loose lets label values pass that are none, as old configurations may have them.
func validateSelector(s *metav1.LabelSelector, loose bool, p *field.Path) field.ErrorList {
	if s == nil {
		return nil
	}
	return metav1validation.ValidateLabelSelector(s, metav1validation.LabelSelectorValidationOptions{AllowInvalidLabelValueInSelector: loose}, p)
}
