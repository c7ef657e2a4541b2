package policy

import (
	"context"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	plugincel "k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/admission/plugin/policy/generic"
	"k8s.io/apiserver/pkg/admission/plugin/policy/validating"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/cel/environment"

	"github.com/gantryio/gantry/core/admission"
	"github.com/gantryio/gantry/core/admission/versioned"
)

// Validating refuses writes by ValidatingAdmissionPolicies.
type Validating struct {
	engine *engine[*validating.Policy, *validating.PolicyBinding, validating.Validator]
}

var (
	_ admission.Validator = (*Validating)(nil)
	_ admission.External  = (*Validating)(nil)
)

// NewValidating makes the plugin; may answers expressions that ask the authorizer.
func NewValidating(objects admission.Reader, may authorizer.UnconditionalAuthorizer) *Validating {
	return &Validating{newEngine(kind[*validating.Policy, *validating.PolicyBinding, validating.Validator]{
		name: validating.PluginName, policies: "validatingadmissionpolicies", bindings: "validatingadmissionpolicybindings",
		policy: validating.NewValidatingAdmissionPolicyAccessor, binding: validating.NewValidatingAdmissionPolicyBindingAccessor,
		compile: compileValidating,
	}, objects, validating.NewDispatcher(may, generic.NewPolicyMatcher(versioned.NewMatcher(objects))))}
}

// Name implements [admission.Plugin].
func (*Validating) Name() string { return validating.PluginName }

// Idle implements [admission.External].
func (v *Validating) Idle() bool { return v.engine.compiled.Now() == nil }

// Validate implements [admission.Validator].
func (v *Validating) Validate(ctx context.Context, a *admission.Attributes) error {
	s := v.engine.compiled.Now()
	if s == nil || !v.engine.concerns(s, a) {
		return nil
	}
	return v.engine.dispatch(ctx, s, a)
}

// compileValidating compiles all expressions of a policy. What is wrong with one is told by whatever it is evaluated for.
func compileValidating(p *admissionv1.ValidatingAdmissionPolicy) validating.Validator {
	with := optionals(p.Spec.ParamKind)
	c, err := newCompiler(p.Spec.Variables, with)
	if err != nil {
		return validating.NewValidator(nil, nil, nil, nil, p.Spec.FailurePolicy, err)
	}
	conditions := make([]plugincel.ExpressionAccessor, len(p.Spec.Validations))
	messages := make([]plugincel.ExpressionAccessor, len(p.Spec.Validations))
	for i, v := range p.Spec.Validations {
		conditions[i] = &validating.ValidationCondition{Expression: v.Expression, Message: v.Message, Reason: v.Reason}
		if v.MessageExpression != "" {
			messages[i] = &validating.MessageExpressionCondition{MessageExpression: v.MessageExpression}
		}
	}
	audit := make([]plugincel.ExpressionAccessor, len(p.Spec.AuditAnnotations))
	for i, a := range p.Spec.AuditAnnotations {
		audit[i] = &validating.AuditAnnotationCondition{Key: a.Key, ValueExpression: a.ValueExpression}
	}
	plain := with
	plain.HasAuthorizer = false
	return validating.NewValidator(
		c.CompileCondition(conditions, with, environment.StoredExpressions),
		newMatcher(c, p.Spec.MatchConditions, p.Spec.FailurePolicy, with, p.Name),
		c.CompileCondition(audit, with, environment.StoredExpressions),
		c.CompileCondition(messages, plain, environment.StoredExpressions),
		p.Spec.FailurePolicy, nil,
	)
}
