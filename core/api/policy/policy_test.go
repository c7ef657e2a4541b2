package policy

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func refusals(errs field.ErrorList) []string {
	out := []string{}
	for _, err := range errs {
		out = append(out, fmt.Sprintf("%s: %s", err.Field, err.Type))
	}
	slices.Sort(out)
	return out
}

func TestValidateBudget(t *testing.T) {
	one, much, odd := intstr.FromInt32(1), intstr.FromString("101%"), intstr.FromString("some")
	for _, tc := range []struct {
		name string
		spec policyv1.PodDisruptionBudgetSpec
		want []string
	}{
		{"empty", policyv1.PodDisruptionBudgetSpec{}, []string{}},
		{"good", policyv1.PodDisruptionBudgetSpec{MinAvailable: &one, UnhealthyPodEvictionPolicy: new(policyv1.AlwaysAllow)}, []string{}},
		{"both", policyv1.PodDisruptionBudgetSpec{MinAvailable: &one, MaxUnavailable: &one}, []string{"spec: Invalid value"}},
		{"much", policyv1.PodDisruptionBudgetSpec{MinAvailable: &much}, []string{"spec.minAvailable: Invalid value"}},
		{"odd", policyv1.PodDisruptionBudgetSpec{MaxUnavailable: &odd}, []string{"spec.maxUnavailable: Invalid value"}},
		{"negative", policyv1.PodDisruptionBudgetSpec{MaxUnavailable: new(intstr.FromInt32(-1))}, []string{"spec.maxUnavailable: Invalid value"}},
		{"selector", policyv1.PodDisruptionBudgetSpec{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"a": "-"}}}, []string{"spec.selector.matchLabels: Invalid value"}},
		{"unhealthy", policyv1.PodDisruptionBudgetSpec{UnhealthyPodEvictionPolicy: new(policyv1.UnhealthyPodEvictionPolicyType("Odd"))}, []string{"spec.unhealthyPodEvictionPolicy: Unsupported value"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, refusals(validateBudget(&policyv1.PodDisruptionBudget{Spec: tc.spec}, nil))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestBudgetStatusAndColumns(t *testing.T) {
	b := &policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Name: "web"}, Spec: policyv1.PodDisruptionBudgetSpec{MaxUnavailable: new(intstr.FromString("20%"))}}
	b.Status = policyv1.PodDisruptionBudgetStatus{DisruptionsAllowed: -1, CurrentHealthy: -1, DesiredHealthy: -1, ExpectedPods: -1}
	want := []string{"status.currentHealthy: Invalid value", "status.desiredHealthy: Invalid value", "status.disruptionsAllowed: Invalid value", "status.expectedPods: Invalid value"}
	if diff := cmp.Diff(want, refusals(validateBudgetStatus(b, nil))); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]any{"web", "N/A", "20%", int64(-1), "<unknown>"}, PodDisruptionBudgets.Resource().Cells(b)); diff != "" {
		t.Error(diff)
	}
}
