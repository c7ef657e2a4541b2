package admissionregistration

import (
	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api"
)

// MutatingAdmissionPolicyBindings is all that the server, the printer and the docs know of MutatingAdmissionPolicyBinding.
var MutatingAdmissionPolicyBindings = api.Kind[admissionv1.MutatingAdmissionPolicyBinding]{
	Group: group, Version: "v1", Name: "MutatingAdmissionPolicyBinding", Plural: "mutatingadmissionpolicybindings",
	Earlier:    []string{"admissionregistration.k8s.io/v1alpha1", "admissionregistration.k8s.io/v1beta1"},
	Categories: []string{"api-extensions"},
	Generation: true, UnconditionalUpdateForbidden: true,
	Default: func(b *admissionv1.MutatingAdmissionPolicyBinding) { defaultMatch(b.Spec.MatchResources) },
	Validate: func(b, _ *admissionv1.MutatingAdmissionPolicyBinding) field.ErrorList {
		p := field.NewPath("spec")
		errs := validatePolicyName(b.Spec.PolicyName, p.Child("policyName"))
		errs = append(errs, validateParamRef(b.Spec.ParamRef, p.Child("paramRef"))...)
		errs = append(errs, validateMatch(b.Spec.MatchResources, p.Child("matchResources"))...)
		return append(errs, validateMutable(b.Spec.MatchResources, p.Child("matchResources"))...)
	},
	Columns: []api.Column[admissionv1.MutatingAdmissionPolicyBinding]{
		api.NameColumn[admissionv1.MutatingAdmissionPolicyBinding](),
		{Name: "PolicyName", Description: "The policy that is bound.", Cell: func(b *admissionv1.MutatingAdmissionPolicyBinding) any { return b.Spec.PolicyName }},
		{Name: "ParamRef", Description: "The objects that are the parameters.", Cell: func(b *admissionv1.MutatingAdmissionPolicyBinding) any {
			return paramRefCell(b.Spec.ParamRef)
		}},
		api.AgeColumn[admissionv1.MutatingAdmissionPolicyBinding](),
	},
}
