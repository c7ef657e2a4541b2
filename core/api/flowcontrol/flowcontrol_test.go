package flowcontrol

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	flowcontrolv1beta3 "k8s.io/api/flowcontrol/v1beta3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// TestBootstrap: what a cluster starts with is valid, complete, and not changed by defaulting.
func TestBootstrap(t *testing.T) {
	for _, s := range slices.Concat(MandatorySchemas, SuggestedSchemas) {
		have := s.DeepCopy()
		FlowSchemas.Default(have)
		if diff := cmp.Diff(s, have); diff != "" {
			t.Errorf("defaults of %s (-want +got):\n%s", s.Name, diff)
		}
		if errs := FlowSchemas.Validate(have, nil); len(errs) > 0 {
			t.Errorf("%s: %v", s.Name, errs)
		}
	}
	for _, l := range slices.Concat(MandatoryLevels, SuggestedLevels) {
		have := l.DeepCopy()
		PriorityLevelConfigurations.Default(have)
		if diff := cmp.Diff(l, have); diff != "" {
			t.Errorf("defaults of %s (-want +got):\n%s", l.Name, diff)
		}
		if errs := PriorityLevelConfigurations.Validate(have, nil); len(errs) > 0 {
			t.Errorf("%s: %v", l.Name, errs)
		}
	}
}

func TestFlowSchemas(t *testing.T) {
	good := func(edit func(*flowcontrolv1.FlowSchema)) *flowcontrolv1.FlowSchema {
		s := &flowcontrolv1.FlowSchema{ObjectMeta: metav1.ObjectMeta{Name: "x"}, Spec: flowcontrolv1.FlowSchemaSpec{
			PriorityLevelConfiguration: flowcontrolv1.PriorityLevelConfigurationReference{Name: "global-default"},
			Rules: []flowcontrolv1.PolicyRulesWithSubjects{{
				Subjects: []flowcontrolv1.Subject{{Kind: "User", User: &flowcontrolv1.UserSubject{Name: "u"}}},
				ResourceRules: []flowcontrolv1.ResourcePolicyRule{{
					Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{"pods"}, Namespaces: []string{"a"},
				}},
			}},
		}}
		if edit != nil {
			edit(s)
		}
		return s
	}
	rule := func(edit func(*flowcontrolv1.PolicyRulesWithSubjects)) *flowcontrolv1.FlowSchema {
		return good(func(s *flowcontrolv1.FlowSchema) { edit(&s.Spec.Rules[0]) })
	}
	subject := func(s flowcontrolv1.Subject) *flowcontrolv1.FlowSchema {
		return rule(func(r *flowcontrolv1.PolicyRulesWithSubjects) { r.Subjects[0] = s })
	}
	const at = "spec.rules[0]."
	for _, tc := range []struct {
		name   string
		obj    *flowcontrolv1.FlowSchema
		row    []any
		refuse []string
	}{
		{"good", good(nil), []any{"global-default", int64(1000), "<none>", "?"}, nil},
		{"dangling", good(func(s *flowcontrolv1.FlowSchema) {
			s.Spec.MatchingPrecedence, s.Spec.DistinguisherMethod = 5, &flowcontrolv1.FlowDistinguisherMethod{Type: "ByUser"}
			s.Status.Conditions = []flowcontrolv1.FlowSchemaCondition{{Type: "Dangling", Status: "True"}}
		}), []any{"global-default", int64(5), "ByUser", "True"}, nil},
		{"negative", good(func(s *flowcontrolv1.FlowSchema) { s.Spec.MatchingPrecedence = -1 }), nil, []string{"spec.matchingPrecedence: Invalid value"}},
		{"too high", good(func(s *flowcontrolv1.FlowSchema) { s.Spec.MatchingPrecedence = 10001 }), nil, []string{"spec.matchingPrecedence: Invalid value"}},
		{"the first", good(func(s *flowcontrolv1.FlowSchema) { s.Spec.MatchingPrecedence = 1 }), nil, []string{"spec.matchingPrecedence: Invalid value"}},
		{"no level, strange method", good(func(s *flowcontrolv1.FlowSchema) {
			s.Spec.PriorityLevelConfiguration.Name, s.Spec.DistinguisherMethod = "", &flowcontrolv1.FlowDistinguisherMethod{Type: "ByMoon"}
		}), nil, []string{"spec.distinguisherMethod.type: Unsupported value", "spec.priorityLevelConfiguration.name: Required value"}},
		{"bad level", good(func(s *flowcontrolv1.FlowSchema) { s.Spec.PriorityLevelConfiguration.Name = "A_" }), nil, []string{"spec.priorityLevelConfiguration.name: Invalid value"}},
		{
			"empty rule", rule(func(r *flowcontrolv1.PolicyRulesWithSubjects) { *r = flowcontrolv1.PolicyRulesWithSubjects{} }), nil,
			[]string{at + "subjects: Required value", "spec.rules[0]: Required value"},
		},
		{"strange subject", subject(flowcontrolv1.Subject{Kind: "Dog"}), nil, []string{at + "subjects[0].kind: Unsupported value"}},
		{
			"user without one", subject(flowcontrolv1.Subject{Kind: "User", Group: &flowcontrolv1.GroupSubject{}}), nil,
			[]string{at + "subjects[0].user: Required value", at + "subjects[0].group: Forbidden"},
		},
		{"nameless group", subject(flowcontrolv1.Subject{Kind: "Group", Group: &flowcontrolv1.GroupSubject{}}), nil, []string{at + "subjects[0].group.name: Required value"}},
		{
			"nameless account", subject(flowcontrolv1.Subject{Kind: "ServiceAccount", ServiceAccount: &flowcontrolv1.ServiceAccountSubject{}}), nil,
			[]string{at + "subjects[0].serviceAccount.name: Required value", at + "subjects[0].serviceAccount.namespace: Required value"},
		},
		{
			"bad account", subject(flowcontrolv1.Subject{Kind: "ServiceAccount", ServiceAccount: &flowcontrolv1.ServiceAccountSubject{Name: "A", Namespace: "*"}}), nil,
			[]string{at + "subjects[0].serviceAccount.name: Invalid value", at + "subjects[0].serviceAccount.namespace: Invalid value"},
		},
		{
			"all accounts", subject(flowcontrolv1.Subject{Kind: "ServiceAccount", ServiceAccount: &flowcontrolv1.ServiceAccountSubject{Name: "*", Namespace: "a"}}),
			[]any{"global-default", int64(1000), "<none>", "?"},
			nil,
		},
		{
			"empty resource rule", rule(func(r *flowcontrolv1.PolicyRulesWithSubjects) {
				r.ResourceRules[0] = flowcontrolv1.ResourcePolicyRule{}
			}), nil,
			[]string{at + "resourceRules[0].verbs: Required value", at + "resourceRules[0].apiGroups: Required value", at + "resourceRules[0].resources: Required value", at + "resourceRules[0].namespaces: Required value"},
		},
		{"asterisk and more", rule(func(r *flowcontrolv1.PolicyRulesWithSubjects) {
			both := []string{"*", "get"}
			r.ResourceRules[0] = flowcontrolv1.ResourcePolicyRule{Verbs: both, APIGroups: both, Resources: both, Namespaces: both}
		}), nil, []string{at + "resourceRules[0].verbs: Invalid value", at + "resourceRules[0].apiGroups: Invalid value", at + "resourceRules[0].resources: Invalid value", at + "resourceRules[0].namespaces: Invalid value"}},
		{"strange verb and namespace", rule(func(r *flowcontrolv1.PolicyRulesWithSubjects) {
			r.ResourceRules[0].Verbs, r.ResourceRules[0].Namespaces = []string{"sing"}, []string{"A"}
		}), nil, []string{at + "resourceRules[0].verbs: Unsupported value", at + "resourceRules[0].namespaces[0]: Invalid value"}},
		{"paths", rule(func(r *flowcontrolv1.PolicyRulesWithSubjects) {
			r.NonResourceRules = []flowcontrolv1.NonResourcePolicyRule{
				{},
				{Verbs: []string{"get"}, NonResourceURLs: []string{"", "a", "/a b", "/a//b", "/a*", "/*/b", "/", "/a/*"}},
				{Verbs: []string{"*"}, NonResourceURLs: []string{"*", "/a"}},
			}
		}), nil, []string{
			at + "nonResourceRules[0].verbs: Required value", at + "nonResourceRules[0].nonResourceURLs: Required value",
			at + "nonResourceRules[1].nonResourceURLs[0]: Invalid value", at + "nonResourceRules[1].nonResourceURLs[1]: Invalid value",
			at + "nonResourceRules[1].nonResourceURLs[2]: Invalid value", at + "nonResourceRules[1].nonResourceURLs[3]: Invalid value",
			at + "nonResourceRules[1].nonResourceURLs[4]: Invalid value", at + "nonResourceRules[1].nonResourceURLs[5]: Invalid value",
			at + "nonResourceRules[2].nonResourceURLs: Invalid value",
		}},
		{"changed mandatory", good(func(s *flowcontrolv1.FlowSchema) { s.Name = "catch-all" }), nil, []string{"spec: Invalid value"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			FlowSchemas.Default(tc.obj)
			if diff := cmp.Diff(tc.refuse, told(FlowSchemas.Validate(tc.obj, nil))); diff != "" {
				t.Errorf("refused (-want +got):\n%s", diff)
			}
			if cells := FlowSchemas.Resource().Cells(tc.obj); tc.row != nil {
				if diff := cmp.Diff(tc.row, append(cells[1:4:4], cells[5])); diff != "" {
					t.Errorf("row (-want +got):\n%s", diff)
				}
			}
		})
	}
}

// told is the path and the type of each error.
func told(errs field.ErrorList) []string {
	var out []string
	for _, err := range errs {
		where, what, _ := strings.Cut(err.Error(), ": ")
		what, _, _ = strings.Cut(what, ":")
		out = append(out, fmt.Sprintf("%s: %s", where, what))
	}
	return out
}

func TestPriorityLevelConfigurations(t *testing.T) {
	limited := func(edit func(*flowcontrolv1.LimitedPriorityLevelConfiguration)) *flowcontrolv1.PriorityLevelConfiguration {
		l := &flowcontrolv1.PriorityLevelConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "x"}, Spec: flowcontrolv1.PriorityLevelConfigurationSpec{
			Type: "Limited", Limited: &flowcontrolv1.LimitedPriorityLevelConfiguration{LimitResponse: flowcontrolv1.LimitResponse{
				Type: "Queue", Queuing: &flowcontrolv1.QueuingConfiguration{},
			}},
		}}
		if edit != nil {
			edit(l.Spec.Limited)
		}
		return l
	}
	queuing := func(queues, hand, length int32) *flowcontrolv1.PriorityLevelConfiguration {
		return limited(func(l *flowcontrolv1.LimitedPriorityLevelConfiguration) {
			*l.LimitResponse.Queuing = flowcontrolv1.QueuingConfiguration{Queues: queues, HandSize: hand, QueueLengthLimit: length}
		})
	}
	exempt := func(edit func(*flowcontrolv1.PriorityLevelConfiguration)) *flowcontrolv1.PriorityLevelConfiguration {
		l := &flowcontrolv1.PriorityLevelConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "exempt"}, Spec: flowcontrolv1.PriorityLevelConfigurationSpec{
			Type: "Exempt", Exempt: &flowcontrolv1.ExemptPriorityLevelConfiguration{},
		}}
		edit(l)
		return l
	}
	none := "<none>"
	for _, tc := range []struct {
		name   string
		obj    *flowcontrolv1.PriorityLevelConfiguration
		row    []any
		refuse []string
	}{
		{"defaults", limited(nil), []any{"Limited", int64(30), int64(64), int64(8), int64(50)}, nil},
		{"reject", limited(func(l *flowcontrolv1.LimitedPriorityLevelConfiguration) {
			l.NominalConcurrencyShares, l.LimitResponse = new(int32), flowcontrolv1.LimitResponse{Type: "Reject"}
		}), []any{"Limited", int64(0), none, none, none}, nil},
		{"shares", limited(func(l *flowcontrolv1.LimitedPriorityLevelConfiguration) {
			l.NominalConcurrencyShares, l.LendablePercent, l.BorrowingLimitPercent = new(int32(-1)), new(int32(101)), new(int32(-1))
		}), nil, []string{"spec.limited.nominalConcurrencyShares: Invalid value", "spec.limited.lendablePercent: Invalid value", "spec.limited.borrowingLimitPercent: Invalid value"}},
		{"queuing", queuing(-1, -1, -1), nil, []string{
			"spec.limited.limitResponse.queuing.queueLengthLimit: Invalid value", "spec.limited.limitResponse.queuing.queues: Invalid value", "spec.limited.limitResponse.queuing.handSize: Invalid value",
		}},
		{"hand of more than all", queuing(4, 5, 1), nil, []string{"spec.limited.limitResponse.queuing.handSize: Invalid value"}},
		{"too many queues", queuing(maxQueues+1, 1, 1), nil, []string{"spec.limited.limitResponse.queuing.queues: Invalid value"}},
		{"too large a hand", queuing(512, 8, 1), nil, []string{"spec.limited.limitResponse.queuing.handSize: Invalid value"}},
		{"reject with queues", limited(func(l *flowcontrolv1.LimitedPriorityLevelConfiguration) { l.LimitResponse.Type = "Reject" }), nil, []string{"spec.limited.limitResponse.queuing: Forbidden"}},
		{"queue without queues", limited(func(l *flowcontrolv1.LimitedPriorityLevelConfiguration) { l.LimitResponse.Queuing = nil }), nil, []string{"spec.limited.limitResponse.queuing: Required value"}},
		{"no response", limited(func(l *flowcontrolv1.LimitedPriorityLevelConfiguration) { l.LimitResponse.Type = "" }), nil, []string{"spec.limited.limitResponse.type: Required value"}},
		{"strange response", limited(func(l *flowcontrolv1.LimitedPriorityLevelConfiguration) { l.LimitResponse.Type = "Wait" }), nil, []string{"spec.limited.limitResponse.type: Unsupported value"}},
		{"empty", &flowcontrolv1.PriorityLevelConfiguration{}, nil, []string{"spec.type: Required value"}},
		{"another name", exempt(func(l *flowcontrolv1.PriorityLevelConfiguration) { l.Name = "x" }), nil, []string{"spec.type: Invalid value"}},
		{"limited by nothing", &flowcontrolv1.PriorityLevelConfiguration{Spec: flowcontrolv1.PriorityLevelConfigurationSpec{Type: "Limited"}}, nil, []string{"spec.limited: Required value"}},
		{"exempt", exempt(func(l *flowcontrolv1.PriorityLevelConfiguration) { l.Spec.Exempt.LendablePercent = new(int32(50)) }), []any{"Exempt", none, none, none, none}, nil},
		{"limited exempt", exempt(func(l *flowcontrolv1.PriorityLevelConfiguration) {
			l.Spec.Limited, l.Spec.Exempt.NominalConcurrencyShares = limited(nil).Spec.Limited, new(int32(-1))
		}), nil, []string{"spec.limited: Forbidden", "spec.exempt.nominalConcurrencyShares: Invalid value", "spec: Invalid value"}},
		{"annotation", func() *flowcontrolv1.PriorityLevelConfiguration {
			l := limited(nil)
			l.Annotations = map[string]string{flowcontrolv1beta3.PriorityLevelPreserveZeroConcurrencySharesKey: ""}
			return l
		}(), nil, []string{"metadata.annotations: Forbidden"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			PriorityLevelConfigurations.Default(tc.obj)
			if diff := cmp.Diff(tc.refuse, told(PriorityLevelConfigurations.Validate(tc.obj, nil))); diff != "" {
				t.Errorf("refused (-want +got):\n%s", diff)
			}
			if cells := PriorityLevelConfigurations.Resource().Cells(tc.obj); tc.row != nil {
				if diff := cmp.Diff(tc.row, cells[1:6]); diff != "" {
					t.Errorf("row (-want +got):\n%s", diff)
				}
			}
		})
	}
}

func TestConditions(t *testing.T) {
	s := &flowcontrolv1.FlowSchema{Status: flowcontrolv1.FlowSchemaStatus{Conditions: []flowcontrolv1.FlowSchemaCondition{{Type: "a"}, {Type: "a"}, {}}}}
	want := []string{"status.conditions[1].type: Duplicate value", "status.conditions[2].type: Required value"}
	if diff := cmp.Diff(want, told(FlowSchemas.ValidateStatus(s, nil))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
