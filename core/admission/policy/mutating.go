package policy

import (
	"context"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/apiserver/pkg/admission/plugin/policy/mutating"
	"k8s.io/apiserver/pkg/admission/plugin/policy/mutating/patch"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/cel/environment"

	"github.com/gantryio/gantry/core/admission"
	"github.com/gantryio/gantry/core/admission/versioned"
)

// Mutating changes objects by MutatingAdmissionPolicies.
type Mutating struct {
	engine *engine[*mutating.Policy, *mutating.PolicyBinding, mutating.PolicyEvaluator]
}

var (
	_ admission.Mutator  = (*Mutating)(nil)
	_ admission.External = (*Mutating)(nil)
)

// Schemas gives the converter that knows the schema of a kind, nil for a kind that there is not.
type Schemas func(schema.GroupVersionKind) managedfields.TypeConverter

var _ patch.TypeConverterManager = Schemas(nil)

// GetTypeConverter implements patch.TypeConverterManager.
func (s Schemas) GetTypeConverter(gvk schema.GroupVersionKind) managedfields.TypeConverter {
	return s(gvk)
}

// Run implements patch.TypeConverterManager; there is nothing to follow.
func (Schemas) Run(context.Context) {}

// NewMutating makes the plugin; may answers expressions that ask the authorizer.
func NewMutating(objects admission.Reader, may authorizer.UnconditionalAuthorizer, schemas Schemas) *Mutating {
	return &Mutating{newEngine(kind[*mutating.Policy, *mutating.PolicyBinding, mutating.PolicyEvaluator]{
		name: mutating.PluginName, policies: "mutatingadmissionpolicies", bindings: "mutatingadmissionpolicybindings",
		policy: mutating.NewMutatingAdmissionPolicyAccessor, binding: mutating.NewMutatingAdmissionPolicyBindingAccessor,
		compile: compileMutating,
	}, objects, mutating.NewDispatcher(may, versioned.NewMatcher(objects), schemas))}
}

// Name implements [admission.Plugin].
func (*Mutating) Name() string { return mutating.PluginName }

// Idle implements [admission.External].
func (m *Mutating) Idle() bool { return m.engine.compiled.Now() == nil }

// Admit implements [admission.Mutator]. There is nothing to change about a deletion.
func (m *Mutating) Admit(ctx context.Context, a *admission.Attributes) error {
	s := m.engine.compiled.Now()
	if s == nil || a.Operation == admission.Delete || !m.engine.concerns(s, a) {
		return nil
	}
	return a.Exposed(func() error {
		err := m.engine.dispatch(ctx, s, a)
		a.Mutated = a.Mutated || a.Record().GetReinvocationContext().ShouldReinvoke()
		return err
	})
}

// compileMutating compiles all expressions of a policy. What is wrong with one is told by whatever it is evaluated for.
func compileMutating(p *admissionv1.MutatingAdmissionPolicy) mutating.PolicyEvaluator {
	with := optionals(p.Spec.ParamKind)
	c, err := newCompiler(p.Spec.Variables, with)
	if err != nil {
		return mutating.PolicyEvaluator{Error: err}
	}
	out := mutating.PolicyEvaluator{CompositedCompiler: c, Matcher: newMatcher(c, p.Spec.MatchConditions, p.Spec.FailurePolicy, with, p.Name)}
	with.HasPatchTypes = true
	for _, m := range p.Spec.Mutations {
		switch {
		case m.PatchType == admissionv1.PatchTypeJSONPatch && m.JSONPatch != nil:
			e := &patch.JSONPatchCondition{Expression: m.JSONPatch.Expression}
			out.Mutators = append(out.Mutators, patch.NewJSONPatcher(c.CompileMutatingEvaluator(e, with, environment.StoredExpressions)))
		case m.PatchType == admissionv1.PatchTypeApplyConfiguration && m.ApplyConfiguration != nil:
			e := &patch.ApplyConfigurationCondition{Expression: m.ApplyConfiguration.Expression}
			out.Mutators = append(out.Mutators, patch.NewApplyConfigurationPatcher(c.CompileMutatingEvaluator(e, with, environment.StoredExpressions)))
		}
	}
	return out
}
