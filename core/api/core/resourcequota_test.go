package core

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func hard(pairs ...string) corev1.ResourceList {
	out := corev1.ResourceList{}
	for i := 0; i < len(pairs); i += 2 {
		out[corev1.ResourceName(pairs[i])] = resource.MustParse(pairs[i+1])
	}
	return out
}

func TestResourceQuota(t *testing.T) {
	selector := func(scope corev1.ResourceQuotaScope, op corev1.ScopeSelectorOperator, values ...string) *corev1.ScopeSelector {
		return &corev1.ScopeSelector{MatchExpressions: []corev1.ScopedResourceSelectorRequirement{{ScopeName: scope, Operator: op, Values: values}}}
	}
	for _, tc := range []struct {
		name string
		spec corev1.ResourceQuotaSpec
		old  *corev1.ResourceQuotaSpec
		want []string
	}{
		{"good", corev1.ResourceQuotaSpec{Hard: hard("cpu", "1", "pods", "3", "count/jobs.batch", "2", "requests.example.com/gpu", "1", "requests.hugepages-2Mi", "4Mi",
			"fast.storageclass.storage.k8s.io/requests.storage", "5Gi"), Scopes: nil}, nil, nil},
		{"names", corev1.ResourceQuotaSpec{Hard: hard("odd", "1", "-", "1")}, nil, []string{"spec.hard[-]: Invalid value", "spec.hard[odd]: Invalid value"}},
		{"amounts", corev1.ResourceQuotaSpec{Hard: hard("pods", "1.5", "cpu", "-1")}, nil, []string{"spec.hard[cpu]: Invalid value", "spec.hard[pods]: Invalid value"}},
		{"scopes", corev1.ResourceQuotaSpec{Hard: hard("pods", "1"), Scopes: []corev1.ResourceQuotaScope{"Odd"}}, nil, []string{"spec.scopes: Invalid value"}},
		{"a scope of something else", corev1.ResourceQuotaSpec{Hard: hard("services", "1"), Scopes: []corev1.ResourceQuotaScope{corev1.ResourceQuotaScopeTerminating}}, nil, []string{"spec.scopes: Invalid value"}},
		{"compute of best effort", corev1.ResourceQuotaSpec{Hard: hard("cpu", "1"), Scopes: []corev1.ResourceQuotaScope{corev1.ResourceQuotaScopeBestEffort}}, nil, []string{"spec.scopes: Invalid value"}},
		{"scopes that exclude each other", corev1.ResourceQuotaSpec{Hard: hard("pods", "1"), Scopes: []corev1.ResourceQuotaScope{corev1.ResourceQuotaScopeBestEffort, corev1.ResourceQuotaScopeNotBestEffort}}, nil, []string{"spec.scopes: Invalid value"}},
		{"a selector", corev1.ResourceQuotaSpec{Hard: hard("pods", "1"), ScopeSelector: selector(corev1.ResourceQuotaScopePriorityClass, corev1.ScopeSelectorOpIn, "high")}, nil, nil},
		{"a selector without values", corev1.ResourceQuotaSpec{ScopeSelector: selector(corev1.ResourceQuotaScopePriorityClass, corev1.ScopeSelectorOpIn)}, nil, []string{"spec.scopeSelector.matchExpressions.values: Required value"}},
		{"a selector with too many", corev1.ResourceQuotaSpec{ScopeSelector: selector(corev1.ResourceQuotaScopePriorityClass, corev1.ScopeSelectorOpExists, "a")}, nil, []string{"spec.scopeSelector.matchExpressions.values: Invalid value"}},
		{"an odd operator", corev1.ResourceQuotaSpec{ScopeSelector: selector(corev1.ResourceQuotaScopeTerminating, "Odd")}, nil, []string{"spec.scopeSelector.matchExpressions.operator: Invalid value"}},
		{"other scopes", corev1.ResourceQuotaSpec{Hard: hard("pods", "1")}, &corev1.ResourceQuotaSpec{Hard: hard("pods", "1"), Scopes: []corev1.ResourceQuotaScope{corev1.ResourceQuotaScopeBestEffort}}, []string{"spec.scopes: Invalid value"}},
		{"more", corev1.ResourceQuotaSpec{Hard: hard("pods", "2")}, &corev1.ResourceQuotaSpec{Hard: hard("pods", "1")}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var old *corev1.ResourceQuota
			if tc.old != nil {
				old = &corev1.ResourceQuota{Spec: *tc.old}
			}
			checkRefusals(t, validateQuota(&corev1.ResourceQuota{Spec: tc.spec}, old), tc.want...)
		})
	}
	q := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: "q"}, Status: corev1.ResourceQuotaStatus{
		Hard: hard("pods", "3", "limits.cpu", "2", "cpu", "1"), Used: hard("pods", "1", "limits.cpu", "500m"),
	}}
	checkRefusals(t, validateQuotaStatus(q, nil))
	if diff := cmp.Diff([]any{"q", "cpu: 0/1, pods: 1/3", "limits.cpu: 500m/2", "<unknown>"}, row(ResourceQuotas, q)); diff != "" {
		t.Error(diff)
	}
}
