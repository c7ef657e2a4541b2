//go:build e2e

package api_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestAPolicy lets the server's own controller tell what is suspicious in a policy, and restarts the server with it.
func TestAPolicy(t *testing.T) {
	s := &server{data: t.TempDir(), port: 6450}
	s.start(t)
	api := s.client(t).AdmissionregistrationV1()
	policy := &admissionv1.ValidatingAdmissionPolicy{ObjectMeta: metav1.ObjectMeta{Name: "named"}, Spec: admissionv1.ValidatingAdmissionPolicySpec{
		FailurePolicy: new(admissionv1.Ignore),
		Validations: []admissionv1.Validation{
			{Expression: "!object.metadata.name.startsWith('bad')", Message: "a bad name"}, {Expression: "object.dada == null"},
		},
		MatchConstraints: &admissionv1.MatchResources{
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"kubernetes.io/metadata.name": "default"}},
			ResourceRules: []admissionv1.NamedRuleWithOperations{{RuleWithOperations: admissionv1.RuleWithOperations{
				Operations: []admissionv1.OperationType{admissionv1.Create},
				Rule:       admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"configmaps"}},
			}}},
		},
	}}
	if _, err := api.ValidatingAdmissionPolicies().Create(t.Context(), policy, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	binding := &admissionv1.ValidatingAdmissionPolicyBinding{ObjectMeta: metav1.ObjectMeta{Name: "named"}, Spec: admissionv1.ValidatingAdmissionPolicyBindingSpec{
		PolicyName: "named", ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny},
	}}
	if _, err := api.ValidatingAdmissionPolicyBindings().Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, 20*time.Second, func() error {
		got, err := api.ValidatingAdmissionPolicies().Get(t.Context(), "named", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if got.Status.ObservedGeneration != got.Generation {
			return errNotYet
		}
		if c := got.Status.TypeChecking; c == nil || len(c.ExpressionWarnings) != 1 || !strings.Contains(c.ExpressionWarnings[0].Warning, "undefined field 'dada'") {
			return fmt.Errorf("type checking: %+v", c)
		}
		return nil
	})
	for range 2 {
		_, err := s.client(t).CoreV1().ConfigMaps("default").Create(t.Context(), configMap("bad", nil), metav1.CreateOptions{})
		if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "ValidatingAdmissionPolicy 'named' with binding 'named' denied request: a bad name") {
			t.Errorf("a bad name: %v", err)
		}
		s.kill()
		s.start(t)
	}
	if _, err := s.client(t).CoreV1().ConfigMaps("default").Create(t.Context(), configMap("good", nil), metav1.CreateOptions{}); err != nil {
		t.Errorf("a good name: %v", err)
	}
}
