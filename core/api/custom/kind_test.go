package custom

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

type props = apiextensionsv1.JSONSchemaProps

// define declares a kind with the spec's schema in v1, which is stored, and anything in v2.
func define(spec props, change func(*apiextensionsv1.CustomResourceDefinition)) *apiextensionsv1.CustomResourceDefinition {
	free := true
	d := &apiextensionsv1.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: "widgets.example.com"},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: "example.com", Scope: apiextensionsv1.NamespaceScoped,
			Names: apiextensionsv1.CustomResourceDefinitionNames{Plural: "widgets", Singular: "widget", Kind: "Widget", ListKind: "Widgets", ShortNames: []string{"w"}},
			Versions: []apiextensionsv1.CustomResourceDefinitionVersion{
				{Name: "v2", Served: true, Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &props{Type: "object", XPreserveUnknownFields: &free}}},
				{Name: "v1", Served: true, Storage: true, Schema: &apiextensionsv1.CustomResourceValidation{
					OpenAPIV3Schema: &props{Type: "object", Properties: map[string]props{"spec": spec, "status": {Type: "object", XPreserveUnknownFields: &free}}},
				}},
			},
		},
	}
	if change != nil {
		change(d)
	}
	return d
}

func kindsOf(t *testing.T, d *apiextensionsv1.CustomResourceDefinition) []Kind {
	t.Helper()
	out, err := Kinds(d)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func widget(content map[string]any) *unstructured.Unstructured {
	content["apiVersion"], content["kind"] = "example.com/v1", "Widget"
	if content["metadata"] == nil {
		content["metadata"] = map[string]any{"name": "w", "namespace": "ns"}
	}
	return &unstructured.Unstructured{Object: content}
}

func TestVersions(t *testing.T) {
	names := func(d *apiextensionsv1.CustomResourceDefinition) []string {
		var out []string
		for _, k := range kindsOf(t, d) {
			name := k.Version
			if !k.Served {
				name += " (not served)"
			}
			if k.Stored().Version != "v1" {
				t.Errorf("%s is stored as %s", k.Version, k.Stored().Version)
			}
			out = append(out, name)
		}
		return out
	}
	for name, tc := range map[string]struct {
		change func(*apiextensionsv1.CustomResourceDefinition)
		want   []string
	}{
		"both":              {nil, []string{"v1", "v2"}},
		"one is not served": {func(d *apiextensionsv1.CustomResourceDefinition) { d.Spec.Versions[0].Served = false }, []string{"v1"}},
		"the stored is not": {func(d *apiextensionsv1.CustomResourceDefinition) { d.Spec.Versions[1].Served = false }, []string{"v1 (not served)", "v2"}},
		"a webhook between": {func(d *apiextensionsv1.CustomResourceDefinition) {
			d.Spec.Conversion = &apiextensionsv1.CustomResourceConversion{Strategy: "Webhook"}
		}, []string{"v1", "v2"}},
		"no webhook is needed": {func(d *apiextensionsv1.CustomResourceDefinition) {
			d.Spec.Conversion = &apiextensionsv1.CustomResourceConversion{Strategy: "None"}
		}, []string{"v1", "v2"}},
	} {
		if diff := cmp.Diff(tc.want, names(define(props{Type: "object"}, tc.change))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	kinds := kindsOf(t, define(props{Type: "object"}, nil))
	shared := widget(map[string]any{"spec": map[string]any{"a": int64(1)}})
	other := kinds[1].FromStored(shared)
	other.SetLabels(map[string]string{"a": "b"})
	if other.GetObjectKind().GroupVersionKind().Version != "v2" || shared.GetAPIVersion() != "example.com/v1" || shared.GetLabels() != nil {
		t.Errorf("shown in v2: %v; stored: %v", other, shared)
	}
	if got := kinds[0].Key("ns", "w"); got != "/registry/example.com/widgets/ns/w" {
		t.Errorf("stored at %s", got)
	}
}

// TestParts is about what a write of the object, of its status or of neither may change.
func TestParts(t *testing.T) {
	with := kindsOf(t, define(props{Type: "object"}, func(d *apiextensionsv1.CustomResourceDefinition) {
		d.Spec.Versions[1].Subresources = &apiextensionsv1.CustomResourceSubresources{Status: &apiextensionsv1.CustomResourceSubresourceStatus{}}
	}))[0]
	without := kindsOf(t, define(props{Type: "object"}, nil))[0]
	a := func() *unstructured.Unstructured {
		return widget(map[string]any{"spec": int64(1), "status": int64(1), "extra": int64(1)})
	}
	b := func() *unstructured.Unstructured { return widget(map[string]any{"spec": int64(2), "status": int64(2)}) }

	obj := a()
	with.CopyStatus(obj, b())
	if diff := cmp.Diff(widget(map[string]any{"spec": int64(1), "status": int64(2), "extra": int64(1)}), obj); diff != "" {
		t.Errorf("CopyStatus: %s", diff)
	}
	with.CopyStatus(obj, nil)
	if _, ok := obj.Object["status"]; ok {
		t.Error("CopyStatus of nothing leaves a status")
	}
	obj = a()
	without.CopyStatus(obj, nil)
	if diff := cmp.Diff(a(), obj); diff != "" {
		t.Errorf("without the subresource a status is a field like any other: %s", diff)
	}
	with.CopyBody(obj, b())
	if diff := cmp.Diff(widget(map[string]any{"spec": int64(2), "status": int64(1)}), obj); diff != "" {
		t.Errorf("CopyBody: %s", diff)
	}
	other := a()
	other.Object["status"] = int64(9)
	other.SetLabels(map[string]string{"a": "b"})
	if !with.SameBody(a(), other) || without.SameBody(a(), other) || with.SameBody(a(), b()) {
		t.Error("SameBody")
	}
}

func TestValidation(t *testing.T) {
	minimum, most := 1.0, int64(2)
	k := kindsOf(t, define(props{Type: "object", Properties: map[string]props{
		"size":  {Type: "integer", Minimum: &minimum},
		"names": {Type: "array", MaxItems: &most, XListType: new("set"), Items: &apiextensionsv1.JSONSchemaPropsOrArray{Schema: &props{Type: "string"}}},
	}, XValidations: apiextensionsv1.ValidationRules{{Rule: "!has(self.size) || self.size != 13", Message: "unlucky"}}}, func(d *apiextensionsv1.CustomResourceDefinition) {
		d.Spec.Versions[1].Subresources = &apiextensionsv1.CustomResourceSubresources{
			Status: &apiextensionsv1.CustomResourceSubresourceStatus{},
			Scale:  &apiextensionsv1.CustomResourceSubresourceScale{SpecReplicasPath: ".spec.size", StatusReplicasPath: ".status.size"},
		}
	}))[0]
	of := func(spec map[string]any) *unstructured.Unstructured { return widget(map[string]any{"spec": spec}) }
	texts := func(errs field.ErrorList) []string {
		var out []string
		for _, e := range errs {
			out = append(out, e.Error())
		}
		return out
	}
	for name, tc := range map[string]struct {
		obj, old *unstructured.Unstructured
		want     []string
	}{
		"well":             {of(map[string]any{"size": int64(3), "names": []any{"a", "b"}}), nil, nil},
		"a schema":         {of(map[string]any{"size": int64(0)}), nil, []string{"spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1"}},
		"a set":            {of(map[string]any{"names": []any{"a", "a"}}), nil, []string{`spec.names[1]: Duplicate value: "a"`}},
		"a rule":           {of(map[string]any{"size": int64(13)}), nil, []string{"spec: Invalid value: unlucky"}},
		"untouched faults": {of(map[string]any{"size": int64(0), "names": []any{"a"}}), of(map[string]any{"size": int64(0)}), nil},
		"a new fault":      {of(map[string]any{"size": int64(-2)}), of(map[string]any{"size": int64(3)}), []string{"spec.size: Invalid value: -2: spec.size in body should be greater than or equal to 1", "spec.size: Invalid value: -2: should be a non-negative integer"}},
	} {
		var old *unstructured.Unstructured
		if tc.old != nil {
			old = tc.old
		}
		var errs field.ErrorList
		if old == nil {
			errs = k.Validate(tc.obj, nil)
		} else {
			errs = k.Validate(tc.obj, old)
		}
		if diff := cmp.Diff(tc.want, texts(errs)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	scale := k.GetScale(widget(map[string]any{"spec": map[string]any{"size": int64(3)}, "status": map[string]any{"size": int64(2)}}))
	if scale.Spec.Replicas != 3 || scale.Status.Replicas != 2 {
		t.Errorf("scale: %+v", scale)
	}
	obj := of(map[string]any{})
	k.SetScale(obj, 5)
	if n, _, _ := unstructured.NestedInt64(obj.Object, "spec", "size"); n != 5 {
		t.Errorf("scaled to %d", n)
	}
}
