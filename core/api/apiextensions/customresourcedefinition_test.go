package apiextensions

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiextensionsv1beta1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/gantryio/gantry/core/api"
)

// kube-apiserver stores definitions in v1beta1, with what all versions have in common beside the versions.
func TestDefinitionsOfKubernetesAreRead(t *testing.T) {
	names := apiextensionsv1.CustomResourceDefinitionNames{Plural: "boards", Singular: "board", Kind: "Board", ListKind: "BoardList"}
	schema := apiextensionsv1beta1.JSONSchemaProps{Type: "object"}
	stored := &apiextensionsv1beta1.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: "boards.example.com", UID: "u"},
		Spec: apiextensionsv1beta1.CustomResourceDefinitionSpec{
			Group: "example.com", Version: "v1", Scope: apiextensionsv1beta1.NamespaceScoped, PreserveUnknownFields: new(false),
			Names:        apiextensionsv1beta1.CustomResourceDefinitionNames(names),
			Versions:     []apiextensionsv1beta1.CustomResourceDefinitionVersion{{Name: "v1", Served: true, Storage: true}, {Name: "v2", Served: true}},
			Validation:   &apiextensionsv1beta1.CustomResourceValidation{OpenAPIV3Schema: &schema},
			Subresources: &apiextensionsv1beta1.CustomResourceSubresources{Status: &apiextensionsv1beta1.CustomResourceSubresourceStatus{}},
			AdditionalPrinterColumns: []apiextensionsv1beta1.CustomResourceColumnDefinition{
				{Name: "Size", Type: "integer", JSONPath: ".spec.size"},
			},
		},
		Status: apiextensionsv1beta1.CustomResourceDefinitionStatus{StoredVersions: []string{"v1"}},
	}
	raw, err := api.MarshalProtobuf(stored)
	if err != nil {
		t.Fatal(err)
	}
	unknown := &runtime.Unknown{TypeMeta: runtime.TypeMeta{APIVersion: "apiextensions.k8s.io/v1beta1", Kind: "CustomResourceDefinition"}}
	got, former, err := CustomResourceDefinitions.Resource().DecodeStored(api.Envelope(unknown, raw))
	if err != nil || !former {
		t.Fatalf("former %v, %v", former, err)
	}
	version := apiextensionsv1.CustomResourceDefinitionVersion{
		Name: "v1", Served: true, Storage: true,
		Schema:                   &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{Type: "object"}},
		Subresources:             &apiextensionsv1.CustomResourceSubresources{Status: &apiextensionsv1.CustomResourceSubresourceStatus{}},
		AdditionalPrinterColumns: []apiextensionsv1.CustomResourceColumnDefinition{{Name: "Size", Type: "integer", JSONPath: ".spec.size"}},
	}
	second := *version.DeepCopy()
	second.Name, second.Storage = "v2", false
	want := &apiextensionsv1.CustomResourceDefinition{
		TypeMeta:   metav1.TypeMeta{APIVersion: "apiextensions.k8s.io/v1", Kind: "CustomResourceDefinition"},
		ObjectMeta: metav1.ObjectMeta{Name: "boards.example.com", UID: "u"},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: "example.com", Scope: apiextensionsv1.NamespaceScoped, Names: names,
			Versions:   []apiextensionsv1.CustomResourceDefinitionVersion{version, second},
			Conversion: &apiextensionsv1.CustomResourceConversion{Strategy: apiextensionsv1.NoneConverter},
		},
		Status: apiextensionsv1.CustomResourceDefinitionStatus{StoredVersions: []string{"v1"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
