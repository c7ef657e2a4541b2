package custom

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/kube-openapi/pkg/validation/spec"

	"github.com/gantryio/gantry/core/api"
)

func TestOlderSchemas(t *testing.T) {
	for _, tc := range []struct{ name, in, want string }{
		{"plain", `{"type":"object","properties":{"a":{"type":"string"}}}`, `{"type":"object","properties":{"a":{"type":"string"}}}`},
		{"choices", `{"type":"object","oneOf":[{"required":["a"]}],"not":{"required":["b"]},"allOf":[{"required":["c"]}]}`, `{"type":"object"}`},
		{"a reference", `{"description":"d","allOf":[{"$ref":"#/definitions/x"}]}`, `{"description":"d","$ref":"#/definitions/x"}`},
		{
			"may be null", `{"type":"object","required":["a","b"],"properties":{"a":{"type":"object","nullable":true,"properties":{"x":{"type":"string"}}},"b":{"type":"string"}}}`,
			`{"type":"object","required":["b"],"properties":{"a":{},"b":{"type":"string"}}}`,
		},
		{
			"unknown fields", `{"type":"object","x-kubernetes-preserve-unknown-fields":true,"properties":{"x":{"type":"string"}}}`,
			`{"x-kubernetes-preserve-unknown-fields":true}`,
		},
		{"a list of anything", `{"type":"array"}`, `{}`},
		{
			"below", `{"type":"object","properties":{"l":{"type":"array","items":{"type":"string","nullable":true}},"m":{"type":"object","additionalProperties":{"type":"integer","anyOf":[{"minimum":1}]}}}}`,
			`{"type":"object","properties":{"l":{"type":"array","items":{}},"m":{"type":"object","additionalProperties":{"type":"integer"}}}}`,
		},
	} {
		var in spec.Schema
		if err := json.Unmarshal([]byte(tc.in), &in); err != nil {
			t.Fatal(err)
		}
		out, err := json.Marshal(older(&in))
		if err != nil {
			t.Fatal(err)
		}
		var got, want any
		_ = json.Unmarshal(out, &got)
		_ = json.Unmarshal([]byte(tc.want), &want)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, diff)
		}
		same, err := json.Marshal(&in)
		if err != nil {
			t.Fatal(err)
		}
		_ = json.Unmarshal(same, &got)
		_ = json.Unmarshal([]byte(tc.in), &want)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: the schema itself has changed:\n%s", tc.name, diff)
		}
	}
}

func TestKindOfUnknownFields(t *testing.T) {
	r := api.NewCustom("example.com", "v1", "Kite", "kites")
	r.ListKind = "KiteList"
	var s spec.Schema
	if err := json.Unmarshal([]byte(`{"type":"object","x-kubernetes-preserve-unknown-fields":true,"properties":{"spec":{"type":"object"}}}`), &s); err != nil {
		t.Fatal(err)
	}
	doc, err := Swagger([]Kind{{Resource: r, Served: true, Schema: complete(&s, r, []string{"spec.color"})}})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"type":"object","x-kubernetes-group-version-kind":[{"group":"example.com","kind":"Kite","version":"v1"}],` +
		`"x-kubernetes-selectable-fields":[{"fieldPath":"spec.color"}]}`
	model := doc.Definitions["com.example.v1.Kite"]
	if got, err := json.Marshal(&model); err != nil || string(got) != want {
		t.Errorf("the kind is %s, %v; want %s", got, err, want)
	}
	answer := doc.Paths.Paths["/apis/example.com/v1/kites"].Get.Responses.StatusCodeResponses[200].Schema
	if got, want := answer.Ref.String(), "#/definitions/com.example.v1.KiteList"; got != want {
		t.Errorf("a list is %s, want %s", got, want)
	}
	list := doc.Definitions["com.example.v1.KiteList"]
	items := list.Properties["items"].Items.Schema
	if got, want := items.Ref.String(), "#/definitions/com.example.v1.Kite"; got != want {
		t.Errorf("an item is %s, want %s", got, want)
	}
}
