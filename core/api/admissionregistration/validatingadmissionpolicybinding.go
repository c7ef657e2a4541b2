package admissionregistration

import (
	"slices"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api"
)

// ValidatingAdmissionPolicyBindings is all that the server, the printer and the docs know of ValidatingAdmissionPolicyBinding.
var ValidatingAdmissionPolicyBindings = api.Kind[admissionv1.ValidatingAdmissionPolicyBinding]{
	Group: group, Version: "v1", Name: "ValidatingAdmissionPolicyBinding", Plural: "validatingadmissionpolicybindings",
	Earlier:    []string{"admissionregistration.k8s.io/v1alpha1", "admissionregistration.k8s.io/v1beta1"},
	Categories: []string{"api-extensions"},
	Generation: true, UnconditionalUpdateForbidden: true,
	Default: func(b *admissionv1.ValidatingAdmissionPolicyBinding) { defaultMatch(b.Spec.MatchResources) },
	Validate: func(b, _ *admissionv1.ValidatingAdmissionPolicyBinding) field.ErrorList {
		p := field.NewPath("spec")
		errs := validatePolicyName(b.Spec.PolicyName, p.Child("policyName"))
		errs = append(errs, validateParamRef(b.Spec.ParamRef, p.Child("paramRef"))...)
		errs = append(errs, validateMatch(b.Spec.MatchResources, p.Child("matchResources"))...)
		return append(errs, validateActions(b.Spec.ValidationActions, p.Child("validationActions"))...)
	},
	Columns: []api.Column[admissionv1.ValidatingAdmissionPolicyBinding]{
		api.NameColumn[admissionv1.ValidatingAdmissionPolicyBinding](),
		{Name: "PolicyName", Description: "The policy that is bound.", Cell: func(b *admissionv1.ValidatingAdmissionPolicyBinding) any { return b.Spec.PolicyName }},
		{Name: "ParamRef", Description: "The objects that are the parameters.", Cell: func(b *admissionv1.ValidatingAdmissionPolicyBinding) any {
			return paramRefCell(b.Spec.ParamRef)
		}},
		api.AgeColumn[admissionv1.ValidatingAdmissionPolicyBinding](),
	},
}

func validateActions(actions []admissionv1.ValidationAction, p *field.Path) field.ErrorList {
	if len(actions) == 0 {
		return field.ErrorList{field.Required(p, "at least one validation action is required")}
	}
	var errs field.ErrorList
	for i := range actions {
		errs = append(errs, oneOf(p.Index(i), &actions[i], admissionv1.Audit, admissionv1.Deny, admissionv1.Warn)...)
		if slices.Contains(actions[:i], actions[i]) {
			errs = append(errs, field.Duplicate(p.Index(i), actions[i]))
		}
	}
	if slices.Contains(actions, admissionv1.Deny) && slices.Contains(actions, admissionv1.Warn) {
		errs = append(errs, field.Invalid(p, actions, "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)"))
	}
	return errs
}
