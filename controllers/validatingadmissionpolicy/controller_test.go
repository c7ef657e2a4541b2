package validatingadmissionpolicy

import (
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/api/all"
	"github.com/gantryio/gantry/core/api/custom"
	gantry "github.com/gantryio/gantry/core/client"
)

func widgets() *apiextensionsv1.CustomResourceDefinition {
	size := apiextensionsv1.JSONSchemaProps{Type: "integer"}
	return &apiextensionsv1.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: "widgets.example.com"},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: "example.com", Scope: apiextensionsv1.NamespaceScoped, Names: apiextensionsv1.CustomResourceDefinitionNames{Plural: "widgets", Kind: "Widget", ListKind: "WidgetList"},
			Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{Name: "v1", Served: true, Storage: true, Schema: &apiextensionsv1.CustomResourceValidation{
				OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{Type: "object", Properties: map[string]apiextensionsv1.JSONSchemaProps{"size": size}},
			}}},
		},
	}
}

// tried makes a policy about kinds of a group.
func tried(group, resource, expression string) *admissionv1.ValidatingAdmissionPolicy {
	return &admissionv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "p", Generation: 1},
		Spec: admissionv1.ValidatingAdmissionPolicySpec{
			Validations: []admissionv1.Validation{{Expression: expression}},
			MatchConstraints: &admissionv1.MatchResources{ResourceRules: []admissionv1.NamedRuleWithOperations{{
				RuleWithOperations: admissionv1.RuleWithOperations{
					Operations: []admissionv1.OperationType{admissionv1.Create},
					Rule:       admissionv1.Rule{APIGroups: []string{group}, APIVersions: []string{"v1"}, Resources: []string{resource}},
				},
			}}},
		},
	}
}

func TestCheck(t *testing.T) {
	registry := all.Kinds()
	kinds, err := custom.Kinds(widgets())
	if err != nil {
		t.Fatal(err)
	}
	if err := registry.SetCustom([]*api.Resource{kinds[0].Resource}); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ name, group, resource, expression, want string }{
		{"right", "apps", "deployments", "object.spec.replicas < 5 && object.metadata.name != ''", ""},
		{"no such field", "apps", "deployments", "object.spec.replica < 5", "undefined field 'replica'"},
		{"other type", "", "pods", "object.spec.nodeName > 5", "no matching overload"},
		{"a defined kind", "example.com", "widgets", "object.size > 1 && object.metadata.namespace == 'x'", ""},
		{"no such defined field", "example.com", "widgets", "object.weight > 1", "undefined field 'weight'"},
		{"an unknown kind", "example.com", "gadgets", "object.weight > 1", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := &Controller{fake.NewClientBuilder().WithScheme(clientscheme.Scheme).WithRESTMapper(gantry.NewMapper(registry)).
				WithStatusSubresource(&admissionv1.ValidatingAdmissionPolicy{}).WithObjects(widgets(), tried(tc.group, tc.resource, tc.expression)).Build()}
			key := types.NamespacedName{Name: "p"}
			if _, err := c.Reconcile(t.Context(), reconcile.Request{NamespacedName: key}); err != nil {
				t.Fatal(err)
			}
			got := &admissionv1.ValidatingAdmissionPolicy{}
			if err := c.Client.Get(t.Context(), client.ObjectKey(key), got); err != nil {
				t.Fatal(err)
			}
			if got.Status.ObservedGeneration != 1 || got.Status.TypeChecking == nil {
				t.Fatalf("status %+v", got.Status)
			}
			warnings := got.Status.TypeChecking.ExpressionWarnings
			switch {
			case tc.want == "" && len(warnings) > 0:
				t.Errorf("warned: %+v", warnings)
			case tc.want != "" && (len(warnings) != 1 || warnings[0].FieldRef != "spec.validations[0].expression" || !strings.Contains(warnings[0].Warning, tc.want)):
				t.Errorf("warned %+v, want %s", warnings, tc.want)
			}
		})
	}
}
