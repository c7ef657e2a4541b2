package clusterrole

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestAggregate(t *testing.T) {
	get, list := rbacv1.PolicyRule{Verbs: []string{"get"}}, rbacv1.PolicyRule{Verbs: []string{"list"}}
	part := func(name, to string, rules ...rbacv1.PolicyRule) rbacv1.ClusterRole {
		return rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{to: "true"}}, Rules: rules}
	}
	whole := part("whole", "view", rbacv1.PolicyRule{Verbs: []string{"stale"}})
	whole.AggregationRule = &rbacv1.AggregationRule{ClusterRoleSelectors: []metav1.LabelSelector{
		{MatchLabels: map[string]string{"edit": "true"}}, {MatchLabels: map[string]string{"view": "true"}},
	}}
	rules, err := aggregate(&whole, []rbacv1.ClusterRole{whole, part("b", "view", get, list), part("a", "edit", list), part("c", "other", get)})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]rbacv1.PolicyRule{list, get}, rules); d != "" {
		t.Error(d)
	}
}
