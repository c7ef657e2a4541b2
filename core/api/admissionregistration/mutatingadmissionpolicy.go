package admissionregistration

import (
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation/field"
	plugincel "k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/admission/plugin/policy/mutating/patch"

	"github.com/gantryio/gantry/core/api"
)

// MutatingAdmissionPolicies is all that the server, the printer and the docs know of MutatingAdmissionPolicy.
var MutatingAdmissionPolicies = api.Kind[admissionv1.MutatingAdmissionPolicy]{
	Group: group, Version: "v1", Name: "MutatingAdmissionPolicy", Plural: "mutatingadmissionpolicies",
	Earlier:    []string{"admissionregistration.k8s.io/v1alpha1", "admissionregistration.k8s.io/v1beta1"},
	Categories: []string{"api-extensions"},
	Generation: true, UnconditionalUpdateForbidden: true,
	Default: func(p *admissionv1.MutatingAdmissionPolicy) {
		setDefault(&p.Spec.FailurePolicy, admissionv1.Fail)
		defaultMatch(p.Spec.MatchConstraints)
	},
	Validate: validateMutatingPolicy,
	Columns: []api.Column[admissionv1.MutatingAdmissionPolicy]{
		api.NameColumn[admissionv1.MutatingAdmissionPolicy](),
		{Name: "Mutations", Type: "integer", Description: "How many changes this policy makes.", Cell: func(p *admissionv1.MutatingAdmissionPolicy) any {
			return int64(len(p.Spec.Mutations))
		}},
		{Name: "ParamKind", Description: "The kind of the objects that are the policy's parameters.", Cell: func(p *admissionv1.MutatingAdmissionPolicy) any {
			return paramKindCell(p.Spec.ParamKind)
		}},
		api.AgeColumn[admissionv1.MutatingAdmissionPolicy](),
	},
}

func storedMutations(old *admissionv1.MutatingAdmissionPolicy) (conditions, mutations map[string]bool) {
	conditions, mutations = map[string]bool{}, map[string]bool{}
	if old == nil {
		return conditions, mutations
	}
	for _, c := range old.Spec.MatchConditions {
		conditions[c.Expression] = true
	}
	for _, m := range old.Spec.Mutations {
		if m.ApplyConfiguration != nil {
			mutations[m.ApplyConfiguration.Expression] = true
		}
		if m.JSONPatch != nil {
			mutations[m.JSONPatch.Expression] = true
		}
	}
	return conditions, mutations
}

func validateMutatingPolicy(policy, old *admissionv1.MutatingAdmissionPolicy) field.ErrorList {
	spec, p := &policy.Spec, field.NewPath("spec")
	conditions, mutations := storedMutations(old)
	params := spec.ParamKind != nil
	errs := validatePolicyHead(spec.FailurePolicy, spec.ParamKind, spec.MatchConstraints, p)
	errs = append(errs, validateMutable(spec.MatchConstraints, p.Child("matchConstraints"))...)
	sameConditions := old != nil && equality.Semantic.DeepEqual(spec.ParamKind, old.Spec.ParamKind) &&
		equality.Semantic.DeepEqual(spec.MatchConditions, old.Spec.MatchConditions)
	if !sameConditions {
		errs = append(errs, validateConditions(spec.MatchConditions, params, conditions, p.Child("matchConditions"))...)
	}
	compiler, err := newCompiler()
	if err != nil {
		return append(errs, field.InternalError(p, err))
	}
	errs = append(errs, validateVariables(compiler, spec.Variables, params, nil, p.Child("variables"))...)
	if len(spec.Mutations) == 0 {
		errs = append(errs, field.Required(p.Child("mutations"), "mutations must contain at least one item"))
	}
	for i := range spec.Mutations {
		errs = append(errs, validateMutation(compiler, &spec.Mutations[i], params, mutations, p.Child("mutations").Index(i))...)
	}
	if spec.ReinvocationPolicy == "" {
		return append(errs, field.Required(p.Child("reinvocationPolicy"), ""))
	}
	return append(errs, oneOf(p.Child("reinvocationPolicy"), &spec.ReinvocationPolicy,
		admissionv1.IfNeededReinvocationPolicy, admissionv1.NeverReinvocationPolicy)...)
}

func validateMutation(c plugincel.Compiler, m *admissionv1.Mutation, params bool, known map[string]bool, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	apply, patches := p.Child("applyConfiguration"), p.Child("jsonPatch")
	switch m.PatchType {
	case "":
		return field.ErrorList{field.Required(p.Child("patchType"), "")}
	case admissionv1.PatchTypeJSONPatch:
		if m.JSONPatch == nil {
			errs = append(errs, field.Required(patches, "must be specified when patchType is JSONPatch"))
		} else {
			text := strings.TrimSpace(m.JSONPatch.Expression)
			errs = append(errs, validatePatch(c, &patch.JSONPatchCondition{Expression: text}, params, known, patches.Child("expression"))...)
		}
		if m.ApplyConfiguration != nil {
			errs = append(errs, field.Invalid(apply, "{applyConfiguration}", "must not be specified when patchType is JSONPatch"))
		}
	case admissionv1.PatchTypeApplyConfiguration:
		if m.ApplyConfiguration == nil {
			errs = append(errs, field.Required(apply, "must be specified when patchType is ApplyConfiguration"))
		} else {
			text := strings.TrimSpace(m.ApplyConfiguration.Expression)
			errs = append(errs, validatePatch(c, &patch.ApplyConfigurationCondition{Expression: text}, params, known, apply.Child("expression"))...)
		}
		if m.JSONPatch != nil {
			errs = append(errs, field.Invalid(patches, "{jsonPatch}", "must not be specified when patchType is ApplyConfiguration"))
		}
	default:
		return oneOf(p.Child("patchType"), &m.PatchType, admissionv1.PatchTypeApplyConfiguration, admissionv1.PatchTypeJSONPatch)
	}
	return errs
}

func validatePatch(c plugincel.Compiler, e plugincel.ExpressionAccessor, params bool, known map[string]bool, p *field.Path) field.ErrorList {
	if e.GetExpression() == "" {
		return field.ErrorList{field.Required(p, "")}
	}
	return compile(c, e, plugincel.OptionalVariableDeclarations{HasParams: params, HasAuthorizer: true, HasPatchTypes: true}, known, p)
}
