// Package policy evaluates ValidatingAdmissionPolicies and MutatingAdmissionPolicies. Compiling and evaluating them is that of the
// libraries in k8s.io/apiserver; what they decide by is read from the cache, so that a policy, a binding or a parameter is heeded
// as soon as its write was acknowledged.
package policy

import (
	"context"
	"fmt"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	plugincel "k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/admission/plugin/policy/generic"
	"k8s.io/apiserver/pkg/admission/plugin/policy/validating"
	"k8s.io/apiserver/pkg/admission/plugin/webhook/matchconditions"
	"k8s.io/apiserver/pkg/cel/environment"
	"k8s.io/apiserver/pkg/warning"

	"github.com/gantryio/gantry/core/admission"
	"github.com/gantryio/gantry/core/admission/versioned"
	"github.com/gantryio/gantry/core/cache"
)

// hook is a policy with its bindings and what is compiled of it.
type hook[P, B runtime.Object, E any] = generic.PolicyHook[P, B, E]

// set is all policies of one kind that are bound, in the order of their names.
type set[P, B runtime.Object, E any] struct {
	hooks []hook[P, B, E]
	of    map[*cache.Entry]E
}

// kind is what differs between the two kinds of policies.
type kind[P, B runtime.Object, E any] struct {
	name     string
	policy   func(P) generic.PolicyAccessor
	binding  func(B) generic.BindingAccessor
	compile  func(P) E
	policies string
	bindings string
}

// engine evaluates the policies of one kind.
type engine[P, B runtime.Object, E any] struct {
	kind       kind[P, B, E]
	objects    admission.Reader
	dispatcher generic.Dispatcher[hook[P, B, E]]
	compiled   admission.Compiled[set[P, B, E]]
}

func newEngine[P, B runtime.Object, E any](k kind[P, B, E], objects admission.Reader, d generic.Dispatcher[hook[P, B, E]]) *engine[P, B, E] {
	e := &engine[P, B, E]{kind: k, objects: objects, dispatcher: d}
	e.compiled = admission.Compiled[set[P, B, E]]{
		Objects: objects,
		Kinds: []schema.GroupVersionResource{
			admissionv1.SchemeGroupVersion.WithResource(k.policies), admissionv1.SchemeGroupVersion.WithResource(k.bindings),
		},
		Make: e.make,
	}
	return e
}

// make keeps what is compiled of policies that have not changed.
func (e *engine[P, B, E]) make(before *set[P, B, E], objects [][]*cache.Entry) *set[P, B, E] {
	bound := map[string][]B{}
	for _, entry := range objects[1] {
		b := any(entry.Object).(B)
		name := e.kind.binding(b).GetPolicyName().Name
		bound[name] = append(bound[name], b)
	}
	s := &set[P, B, E]{of: map[*cache.Entry]E{}}
	for _, entry := range objects[0] {
		p := any(entry.Object).(P)
		bindings := bound[entry.Object.GetName()]
		if len(bindings) == 0 {
			continue
		}
		var evaluator E
		known := false
		if before != nil {
			evaluator, known = before.of[entry]
		}
		if !known {
			evaluator = e.kind.compile(p)
		}
		s.of[entry] = evaluator
		s.hooks = append(s.hooks, hook[P, B, E]{Policy: p, Bindings: bindings, Evaluator: evaluator})
	}
	if len(s.hooks) == 0 {
		return nil
	}
	return s
}

// concerns tells, at little cost, that some policy may be about the write. Policies and bindings concern none.
func (e *engine[P, B, E]) concerns(s *set[P, B, E], a *admission.Attributes) bool {
	if a.Resource.Group == admissionv1.GroupName && strings.Contains(a.Resource.Plural, "admissionpolic") {
		return false
	}
	return slices.ContainsFunc(s.hooks, func(h hook[P, B, E]) bool {
		match := e.kind.policy(h.Policy).GetMatchConstraints()
		return match != nil && slices.ContainsFunc(match.ResourceRules, func(r admissionv1.NamedRuleWithOperations) bool {
			return slices.Contains(r.Operations, admissionv1.OperationAll) || slices.Contains(r.Operations, admissionv1.OperationType(a.Operation))
		})
	})
}

// dispatch evaluates all policies that the write concerns.
func (e *engine[P, B, E]) dispatch(ctx context.Context, s *set[P, B, E], a *admission.Attributes) error {
	hooks := slices.Clone(s.hooks)
	for i := range hooks {
		if k := e.kind.policy(hooks[i].Policy).GetParamKind(); k != nil {
			p, err := paramsOf(e.objects, k)
			if err != nil {
				hooks[i].ConfigurationError = err
				continue
			}
			hooks[i].ParamInformer, hooks[i].ParamScope = p, p.scope()
		}
	}
	if a.Warn != nil {
		ctx = warning.WithWarningRecorder(ctx, recorder(a.Warn))
	}
	return e.dispatcher.Dispatch(ctx, a.Record(), versioned.Objects{Registry: e.objects.Registry, Body: a.BodyKind}, hooks)
}

type recorder func(text string)

// AddWarning implements warning.Recorder.
func (r recorder) AddWarning(_, text string) { r(text) }

// optionals are what expressions may use beside the object: parameters if the policy has some, and the authorizer.
func optionals(params *admissionv1.ParamKind) plugincel.OptionalVariableDeclarations {
	return plugincel.OptionalVariableDeclarations{HasParams: params != nil, HasAuthorizer: true}
}

// newCompiler returns a compiler that knows the variables.
func newCompiler(variables []admissionv1.Variable, with plugincel.OptionalVariableDeclarations) (*plugincel.CompositedCompiler, error) {
	c, err := plugincel.NewCompositedCompiler(environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion()))
	if err != nil {
		return nil, fmt.Errorf("make a compiler: %w", err)
	}
	var named []plugincel.NamedExpressionAccessor
	for _, v := range variables {
		named = append(named, &validating.Variable{Name: v.Name, Expression: v.Expression})
	}
	c.CompileAndStoreVariables(named, with, environment.StoredExpressions)
	return c, nil
}

// newMatcher compiles the match conditions of a policy, nil when there are none.
func newMatcher(c *plugincel.CompositedCompiler, conditions []admissionv1.MatchCondition, failure *admissionv1.FailurePolicyType, with plugincel.OptionalVariableDeclarations, name string) matchconditions.Matcher {
	if len(conditions) == 0 {
		return nil
	}
	expressions := make([]plugincel.ExpressionAccessor, len(conditions))
	for i := range conditions {
		expressions[i] = (*matchconditions.MatchCondition)(&conditions[i])
	}
	return matchconditions.NewMatcher(c.CompileCondition(expressions, with, environment.StoredExpressions), failure, "policy", "validate", name)
}

var _ meta.RESTScope = scope("")

type scope meta.RESTScopeName

// Name implements meta.RESTScope.
func (s scope) Name() meta.RESTScopeName { return meta.RESTScopeName(s) }
