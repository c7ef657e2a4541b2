package admissionregistration

import (
	"fmt"
	"strings"

	celgo "github.com/google/cel-go/cel"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	plugincel "k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/client-go/util/jsonpath"

	"github.com/gantryio/gantry/core/api"
)

const (
	maxAuditAnnotations = 20
	maxValueExpression  = 5 << 10
)

// ValidatingAdmissionPolicies is all that the server, the printer and the docs know of ValidatingAdmissionPolicy.
var ValidatingAdmissionPolicies = api.Kind[admissionv1.ValidatingAdmissionPolicy]{
	Group: group, Version: "v1", Name: "ValidatingAdmissionPolicy", Plural: "validatingadmissionpolicies",
	Earlier:      []string{"admissionregistration.k8s.io/v1alpha1", "admissionregistration.k8s.io/v1beta1"},
	Categories:   []string{"api-extensions"},
	Subresources: api.Status,
	Generation:   true, UnconditionalUpdateForbidden: true,
	Default: func(p *admissionv1.ValidatingAdmissionPolicy) {
		setDefault(&p.Spec.FailurePolicy, admissionv1.Fail)
		defaultMatch(p.Spec.MatchConstraints)
	},
	Validate: validateValidatingPolicy,
	ValidateStatus: func(p, _ *admissionv1.ValidatingAdmissionPolicy) field.ErrorList {
		return validatePolicyStatus(&p.Status)
	},
	Columns: []api.Column[admissionv1.ValidatingAdmissionPolicy]{
		api.NameColumn[admissionv1.ValidatingAdmissionPolicy](),
		{Name: "Validations", Type: "integer", Description: "How many rules there are in this policy.", Cell: func(p *admissionv1.ValidatingAdmissionPolicy) any {
			return int64(len(p.Spec.Validations))
		}},
		{Name: "ParamKind", Description: "The kind of the objects that are the policy's parameters.", Cell: func(p *admissionv1.ValidatingAdmissionPolicy) any {
			return paramKindCell(p.Spec.ParamKind)
		}},
		api.AgeColumn[admissionv1.ValidatingAdmissionPolicy](),
	},
}

// stored are the expressions that a policy has already, by what they are for.
type stored struct{ conditions, validations, messages, audit map[string]bool }

func storedExpressions(old *admissionv1.ValidatingAdmissionPolicy) stored {
	s := stored{map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string]bool{}}
	if old == nil {
		return s
	}
	for _, c := range old.Spec.MatchConditions {
		s.conditions[c.Expression] = true
	}
	for _, v := range old.Spec.Validations {
		s.validations[v.Expression], s.messages[v.MessageExpression] = true, true
	}
	for _, a := range old.Spec.AuditAnnotations {
		s.audit[a.ValueExpression] = true
	}
	return s
}

func validateValidatingPolicy(policy, old *admissionv1.ValidatingAdmissionPolicy) field.ErrorList {
	spec, p, known := &policy.Spec, field.NewPath("spec"), storedExpressions(old)
	params := spec.ParamKind != nil
	errs := validatePolicyHead(spec.FailurePolicy, spec.ParamKind, spec.MatchConstraints, p)
	sameConditions := old != nil && equality.Semantic.DeepEqual(spec.ParamKind, old.Spec.ParamKind) &&
		equality.Semantic.DeepEqual(spec.MatchConditions, old.Spec.MatchConditions)
	if !sameConditions {
		errs = append(errs, validateConditions(spec.MatchConditions, params, known.conditions, p.Child("matchConditions"))...)
	}
	compiler := plainCompiler()
	if len(spec.Variables) > 0 {
		composed, err := newCompiler()
		if err == nil {
			compiler = composed
		}
		errs = append(errs, validateVariables(composed, spec.Variables, params, known.validations, p.Child("variables"))...)
	}
	if len(spec.Validations) == 0 && len(spec.AuditAnnotations) == 0 {
		const none = "validations or auditAnnotations must contain at least one item"
		return append(errs, field.Required(p.Child("validations"), none), field.Required(p.Child("auditAnnotations"), none))
	}
	for i := range spec.Validations {
		errs = append(errs, validateValidation(compiler, &spec.Validations[i], params, known, p.Child("validations").Index(i))...)
	}
	return append(errs, validateAudit(compiler, policy, params, known, p.Child("auditAnnotations"))...)
}

// validatePolicyHead checks what both kinds of policies begin with.
func validatePolicyHead(failure *admissionv1.FailurePolicyType, params *admissionv1.ParamKind, match *admissionv1.MatchResources, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	if failure == nil {
		errs = append(errs, field.Required(p.Child("failurePolicy"), ""))
	}
	errs = append(errs, oneOf(p.Child("failurePolicy"), failure, admissionv1.Fail, admissionv1.Ignore)...)
	errs = append(errs, validateParamKind(params, p.Child("paramKind"))...)
	return append(errs, validateConstraints(match, p.Child("matchConstraints"))...)
}

func validateValidation(c plugincel.Compiler, v *admissionv1.Validation, params bool, known stored, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	if strings.TrimSpace(v.Expression) == "" {
		errs = append(errs, field.Required(p.Child("expression"), "expression is not specified"))
	} else {
		e := expression{text: v.Expression, returns: []*celgo.Type{celgo.BoolType}}
		errs = append(errs, compile(c, e, plugincel.OptionalVariableDeclarations{HasParams: params, HasAuthorizer: true}, known.validations, p.Child("expression"))...)
	}
	if v.MessageExpression != "" {
		if strings.TrimSpace(v.MessageExpression) == "" {
			errs = append(errs, field.Invalid(p.Child("messageExpression"), v.MessageExpression, "must be non-empty if specified"))
		} else {
			e := expression{text: v.MessageExpression, returns: []*celgo.Type{celgo.StringType}}
			errs = append(errs, compile(c, e, plugincel.OptionalVariableDeclarations{HasParams: params}, known.messages, p.Child("messageExpression"))...)
		}
	}
	if text := strings.TrimSpace(v.Message); v.Message != "" && text == "" {
		errs = append(errs, field.Invalid(p.Child("message"), v.Message, "must be non-empty if specified"))
	} else if strings.ContainsAny(text, "\n\r") {
		errs = append(errs, field.Invalid(p.Child("message"), v.Message, "must not contain line breaks"))
	}
	return append(errs, oneOf(p.Child("reason"), v.Reason,
		metav1.StatusReasonForbidden, metav1.StatusReasonInvalid, metav1.StatusReasonRequestEntityTooLarge)...)
}

func validateAudit(c plugincel.Compiler, policy *admissionv1.ValidatingAdmissionPolicy, params bool, known stored, p *field.Path) field.ErrorList {
	list := policy.Spec.AuditAnnotations
	var errs field.ErrorList
	if len(list) > maxAuditAnnotations {
		errs = append(errs, field.Invalid(p, list, fmt.Sprintf("must not have more than %d auditAnnotations", maxAuditAnnotations)))
	}
	keys := map[string]bool{}
	for i, a := range list {
		at := p.Index(i)
		if policy.Name == "" {
			errs = append(errs, field.Invalid(at.Child("key"), a.Key, "requires metadata.name be non-empty"))
		} else {
			key := policy.Name + "/" + a.Key
			errs = append(errs, api.Invalid(at.Child("key"), key, utilvalidation.IsQualifiedName(key))...)
		}
		switch text := strings.TrimSpace(a.ValueExpression); {
		case text == "":
			errs = append(errs, field.Required(at.Child("valueExpression"), "valueExpression is not specified"))
		case len(text) > maxValueExpression:
			errs = append(errs, field.Required(at.Child("valueExpression"), fmt.Sprintf("must not exceed %d bytes in length", maxValueExpression)))
		default:
			e := expression{text: text, returns: []*celgo.Type{celgo.StringType, celgo.NullType}}
			errs = append(errs, compile(c, e, plugincel.OptionalVariableDeclarations{HasParams: params, HasAuthorizer: true}, known.audit, at.Child("valueExpression"))...)
		}
		if keys[a.Key] {
			errs = append(errs, field.Duplicate(at.Child("key"), a.Key))
		}
		keys[a.Key] = true
	}
	return errs
}

func validatePolicyStatus(s *admissionv1.ValidatingAdmissionPolicyStatus) field.ErrorList {
	var errs field.ErrorList
	p := field.NewPath("status")
	if s.TypeChecking != nil {
		for i, w := range s.TypeChecking.ExpressionWarnings {
			at := p.Child("typeChecking", "expressionWarnings").Index(i)
			if w.Warning == "" {
				errs = append(errs, field.Required(at.Child("warning"), ""))
			}
			ref := strings.TrimSpace(w.FieldRef)
			if ref == "" {
				errs = append(errs, field.Required(at.Child("fieldRef"), ""))
			} else if err := jsonpath.New("spec").Parse("{" + ref + "}"); err != nil {
				errs = append(errs, field.Invalid(at.Child("fieldRef"), ref, fmt.Sprintf("invalid JSONPath: %v", err)))
			}
		}
	}
	return append(errs, metav1validation.ValidateConditions(s.Conditions, p.Child("conditions"))...)
}
