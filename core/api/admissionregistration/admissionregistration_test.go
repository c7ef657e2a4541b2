package admissionregistration

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api"
)

func check(t *testing.T, errs field.ErrorList, want []string) {
	t.Helper()
	got := []string{}
	for _, err := range errs {
		got = append(got, fmt.Sprintf("%s: %s", err.Field, err.Type))
	}
	slices.Sort(got)
	if diff := cmp.Diff(append([]string{}, want...), got); diff != "" {
		t.Errorf("refusals (-want +got):\n%s\n%v", diff, errs)
	}
}

// tried is a change of a good object, and what is said of it; update changes an object that is stored already.
type tried[T any] struct {
	name   string
	update bool
	edit   func(*T)
	want   []string
}

func try[T any](t *testing.T, k api.Kind[T], good *T, cases []tried[T]) {
	t.Helper()
	r := k.Resource()
	old := any(good).(api.Object)
	r.Default(old)
	check(t, r.Validate(old, nil), nil)
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			obj := old.DeepCopyObject().(api.Object)
			tc.edit(any(obj).(*T))
			if tc.update {
				check(t, r.Validate(obj, old), tc.want)
			} else {
				check(t, r.Validate(obj, nil), tc.want)
			}
		})
	}
}

func rules(resources ...string) []admissionv1.RuleWithOperations {
	return []admissionv1.RuleWithOperations{{
		Operations: []admissionv1.OperationType{admissionv1.Create},
		Rule:       admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: resources},
	}}
}

func webhookConfiguration() *admissionv1.MutatingWebhookConfiguration {
	return &admissionv1.MutatingWebhookConfiguration{Webhooks: []admissionv1.MutatingWebhook{{
		Name: "a.example.com", Rules: rules("pods"), SideEffects: new(admissionv1.SideEffectClassNone),
		AdmissionReviewVersions: []string{"v1"},
		ClientConfig:            admissionv1.WebhookClientConfig{Service: &admissionv1.ServiceReference{Namespace: "default", Name: "hook"}},
		MatchConditions:         []admissionv1.MatchCondition{{Name: "named", Expression: "object.metadata.name != ''"}},
	}}}
}

func TestMutatingWebhookConfiguration(t *testing.T) {
	type config = admissionv1.MutatingWebhookConfiguration
	try(t, MutatingWebhookConfigurations, webhookConfiguration(), []tried[config]{
		{"twice one name", false, func(c *config) { c.Webhooks = append(c.Webhooks, c.Webhooks[0]) }, []string{"webhooks[1].name: Duplicate value"}},
		{"a short name", false, func(c *config) { c.Webhooks[0].Name = "a.b" }, []string{"webhooks[0].name: Invalid value"}},
		{"no address", false, func(c *config) { c.Webhooks[0].ClientConfig.Service = nil }, []string{"webhooks[0].clientConfig: Required value"}},
		{"plain HTTP", false, func(c *config) {
			c.Webhooks[0].ClientConfig = admissionv1.WebhookClientConfig{URL: new("http://a.example.com/x")}
		}, []string{"webhooks[0].clientConfig.url: Invalid value"}},
		{"odd port", false, func(c *config) { c.Webhooks[0].ClientConfig.Service.Port = new(int32(0)) }, []string{"webhooks[0].clientConfig.service.port: Invalid value"}},
		{"side effects", false, func(c *config) { c.Webhooks[0].SideEffects = new(admissionv1.SideEffectClassSome) }, []string{"webhooks[0].sideEffects: Unsupported value"}},
		{"none told", false, func(c *config) { c.Webhooks[0].SideEffects = nil }, []string{"webhooks[0].sideEffects: Required value"}},
		{"hour-long", false, func(c *config) { c.Webhooks[0].TimeoutSeconds = new(int32(31)) }, []string{"webhooks[0].timeoutSeconds: Invalid value"}},
		{"unknown review", false, func(c *config) { c.Webhooks[0].AdmissionReviewVersions = []string{"v2", "v2"} }, []string{
			"webhooks[0].admissionReviewVersions: Invalid value", "webhooks[0].admissionReviewVersions[1]: Invalid value",
		}},
		{"odd policies", false, func(c *config) {
			w := &c.Webhooks[0]
			w.FailurePolicy, w.MatchPolicy = new(admissionv1.FailurePolicyType("Wait")), new(admissionv1.MatchPolicyType("Some"))
			w.ReinvocationPolicy = new(admissionv1.ReinvocationPolicyType("Always"))
		}, []string{"webhooks[0].failurePolicy: Unsupported value", "webhooks[0].matchPolicy: Unsupported value", "webhooks[0].reinvocationPolicy: Unsupported value"}},
		{"rules", false, func(c *config) {
			r := &c.Webhooks[0].Rules[0]
			r.Operations = []admissionv1.OperationType{"*", "READ"}
			r.APIGroups, r.APIVersions, r.Resources = nil, []string{""}, []string{"pods/*", "pods/exec", "*", ""}
		}, []string{
			"webhooks[0].rules[0].apiGroups: Required value", "webhooks[0].rules[0].apiVersions[0]: Required value",
			"webhooks[0].rules[0].operations: Invalid value", "webhooks[0].rules[0].operations[1]: Unsupported value",
			"webhooks[0].rules[0].resources[1]: Invalid value", "webhooks[0].rules[0].resources[3]: Required value",
		}},
		{"a condition that is no condition", false, func(c *config) {
			c.Webhooks[0].MatchConditions = []admissionv1.MatchCondition{{Name: "a", Expression: "'x'"}, {Name: "a", Expression: "object.x ="}, {Expression: " "}}
		}, []string{
			"webhooks[0].matchConditions[0].expression: Invalid value", "webhooks[0].matchConditions[1].expression: Invalid value",
			"webhooks[0].matchConditions[1].name: Duplicate value", "webhooks[0].matchConditions[2].expression: Required value",
			"webhooks[0].matchConditions[2].name: Required value",
		}},
		{"an odd selector", false, func(c *config) { c.Webhooks[0].ObjectSelector.MatchLabels = map[string]string{"a": "-"} }, []string{"webhooks[0].objectSelector.matchLabels: Invalid value"}},
	})
	old := webhookConfiguration()
	old.Webhooks[0].SideEffects = new(admissionv1.SideEffectClassSome)
	now := old.DeepCopy()
	now.Webhooks[0].FailurePolicy = new(admissionv1.Ignore)
	check(t, MutatingWebhookConfigurations.Resource().Validate(now, old), nil)
}

func TestWebhookDefaults(t *testing.T) {
	c := &admissionv1.ValidatingWebhookConfiguration{Webhooks: []admissionv1.ValidatingWebhook{{
		ClientConfig: admissionv1.WebhookClientConfig{Service: &admissionv1.ServiceReference{}}, Rules: rules("pods"),
	}}}
	ValidatingWebhookConfigurations.Resource().Default(c)
	want := admissionv1.ValidatingWebhook{
		ClientConfig: admissionv1.WebhookClientConfig{Service: &admissionv1.ServiceReference{Port: new(int32(443))}}, Rules: rules("pods"),
		FailurePolicy: new(admissionv1.Fail), MatchPolicy: new(admissionv1.Equivalent), TimeoutSeconds: new(int32(10)),
		NamespaceSelector: &metav1.LabelSelector{}, ObjectSelector: &metav1.LabelSelector{},
	}
	want.Rules[0].Scope = new(admissionv1.AllScopes)
	if diff := cmp.Diff(want, c.Webhooks[0]); diff != "" {
		t.Errorf("defaults (-want +got):\n%s", diff)
	}
}

func match() *admissionv1.MatchResources {
	return &admissionv1.MatchResources{ResourceRules: []admissionv1.NamedRuleWithOperations{{RuleWithOperations: rules("pods")[0]}}}
}

func TestValidatingAdmissionPolicy(t *testing.T) {
	type policy = admissionv1.ValidatingAdmissionPolicy
	good := &policy{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Spec: admissionv1.ValidatingAdmissionPolicySpec{
		ParamKind: &admissionv1.ParamKind{APIVersion: "v1", Kind: "ConfigMap"}, MatchConstraints: match(),
		Variables: []admissionv1.Variable{{Name: "labels", Expression: "object.metadata.?labels.orValue({})"}},
		Validations: []admissionv1.Validation{{
			Expression: "size(variables.labels) < int(params.data.max)", MessageExpression: "'at most ' + params.data.max",
		}},
		AuditAnnotations: []admissionv1.AuditAnnotation{{Key: "count", ValueExpression: "string(size(variables.labels))"}},
	}}
	try(t, ValidatingAdmissionPolicies, good, []tried[policy]{
		{"without parameters", false, func(p *policy) { p.Spec.ParamKind = nil }, []string{
			"spec.validations[0].expression: Invalid value", "spec.validations[0].messageExpression: Invalid value",
		}},
		{"odd parameters", false, func(p *policy) { p.Spec.ParamKind = &admissionv1.ParamKind{APIVersion: "a/b/c", Kind: "-"} }, []string{
			"spec.paramKind.apiVersion: Invalid value", "spec.paramKind.kind: Invalid value",
		}},
		{"for nothing", false, func(p *policy) { p.Spec.MatchConstraints = nil }, []string{"spec.matchConstraints: Required value"}},
		{"no rules", false, func(p *policy) { p.Spec.MatchConstraints.ResourceRules = nil }, []string{"spec.matchConstraints.resourceRules: Required value"}},
		{"says nothing", false, func(p *policy) { p.Spec.Validations, p.Spec.AuditAnnotations = nil, nil }, []string{
			"spec.auditAnnotations: Required value", "spec.validations: Required value",
		}},
		{"odd variables", false, func(p *policy) {
			p.Spec.Variables = append(p.Spec.Variables, admissionv1.Variable{Name: "in", Expression: "variables.none"}, admissionv1.Variable{})
		}, []string{
			"spec.variables[1].expression: Invalid value", "spec.variables[1].name: Invalid value", "spec.variables[2].expression: Required value",
			"spec.variables[2].name: Required value",
		}},
		{"odd messages", false, func(p *policy) {
			p.Spec.Validations = append(p.Spec.Validations,
				admissionv1.Validation{Expression: "true", Message: "a\nb", MessageExpression: " ", Reason: new(metav1.StatusReasonConflict)})
		}, []string{
			"spec.validations[1].message: Invalid value", "spec.validations[1].messageExpression: Invalid value", "spec.validations[1].reason: Unsupported value",
		}},
		{"twice one key", false, func(p *policy) {
			p.Spec.AuditAnnotations = append(p.Spec.AuditAnnotations, admissionv1.AuditAnnotation{Key: "count", ValueExpression: "1"})
		}, []string{"spec.auditAnnotations[1].key: Duplicate value", "spec.auditAnnotations[1].valueExpression: Invalid value"}},
		{"may change", true, func(p *policy) { p.Spec.FailurePolicy = new(admissionv1.Ignore) }, nil},
	})
	good.Status.TypeChecking = &admissionv1.TypeChecking{ExpressionWarnings: []admissionv1.ExpressionWarning{{FieldRef: "spec.validations[0].expression"}, {FieldRef: "a[", Warning: "x"}}}
	check(t, ValidatingAdmissionPolicies.Resource().ValidateStatus(good, good), []string{
		"status.typeChecking.expressionWarnings[0].warning: Required value", "status.typeChecking.expressionWarnings[1].fieldRef: Invalid value",
	})
	if diff := cmp.Diff([]any{"p", int64(1), "v1/ConfigMap", "<unknown>"}, ValidatingAdmissionPolicies.Resource().Cells(good)); diff != "" {
		t.Error(diff)
	}
}

func TestMutatingAdmissionPolicy(t *testing.T) {
	type policy = admissionv1.MutatingAdmissionPolicy
	good := &policy{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Spec: admissionv1.MutatingAdmissionPolicySpec{
		MatchConstraints: match(), ReinvocationPolicy: admissionv1.NeverReinvocationPolicy,
		Mutations: []admissionv1.Mutation{
			{PatchType: admissionv1.PatchTypeApplyConfiguration, ApplyConfiguration: &admissionv1.ApplyConfiguration{Expression: `Object{metadata: Object.metadata{labels: {"a": "b"}}}`}},
			{PatchType: admissionv1.PatchTypeJSONPatch, JSONPatch: &admissionv1.JSONPatch{Expression: `[JSONPatch{op: "remove", path: "/metadata/labels"}]`}},
		},
	}}
	try(t, MutatingAdmissionPolicies, good, []tried[policy]{
		{"deletions", false, func(p *policy) { p.Spec.MatchConstraints.ResourceRules[0].Operations[0] = admissionv1.Delete }, []string{"spec.matchConstraints.resourceRules.operations: Unsupported value"}},
		{"changes nothing", false, func(p *policy) { p.Spec.Mutations, p.Spec.ReinvocationPolicy = nil, "" }, []string{
			"spec.mutations: Required value", "spec.reinvocationPolicy: Required value",
		}},
		{"odd changes", false, func(p *policy) {
			p.Spec.Mutations[0].ApplyConfiguration.Expression, p.Spec.Mutations[1].JSONPatch = "object", nil
			p.Spec.Mutations = append(p.Spec.Mutations, admissionv1.Mutation{PatchType: "Merge"}, admissionv1.Mutation{})
		}, []string{
			"spec.mutations[0].applyConfiguration.expression: Invalid value", "spec.mutations[1].jsonPatch: Required value",
			"spec.mutations[2].patchType: Unsupported value", "spec.mutations[3].patchType: Required value",
		}},
	})
}

func TestBindings(t *testing.T) {
	type binding = admissionv1.ValidatingAdmissionPolicyBinding
	good := &binding{Spec: admissionv1.ValidatingAdmissionPolicyBindingSpec{
		PolicyName: "p", ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny, admissionv1.Audit}, MatchResources: match(),
		ParamRef: &admissionv1.ParamRef{Name: "limits", ParameterNotFoundAction: new(admissionv1.DenyAction)},
	}}
	try(t, ValidatingAdmissionPolicyBindings, good, []tried[binding]{
		{"no policy", false, func(b *binding) { b.Spec.PolicyName = "" }, []string{"spec.policyName: Required value"}},
		{"no action", false, func(b *binding) { b.Spec.ValidationActions = nil }, []string{"spec.validationActions: Required value"}},
		{"told twice", false, func(b *binding) { b.Spec.ValidationActions[1] = admissionv1.Warn }, []string{"spec.validationActions: Invalid value"}},
		{"both", false, func(b *binding) { b.Spec.ParamRef.Selector = &metav1.LabelSelector{} }, []string{"spec.paramRef.name: Forbidden", "spec.paramRef.selector: Forbidden"}},
		{"neither", false, func(b *binding) { b.Spec.ParamRef = &admissionv1.ParamRef{} }, []string{"spec.paramRef.parameterNotFoundAction: Required value", "spec.paramRef: Required value"}},
		{"names", false, func(b *binding) { b.Spec.MatchResources.ResourceRules[0].ResourceNames = []string{"a", "a", "."} }, []string{
			"spec.matchResources.resourceRules[0].resourceNames[1]: Duplicate value", "spec.matchResources.resourceRules[0].resourceNames[2]: Invalid value",
		}},
	})
	if diff := cmp.Diff([]any{"", "p", "*/limits", "<unknown>"}, ValidatingAdmissionPolicyBindings.Resource().Cells(good)); diff != "" {
		t.Error(diff)
	}
}
