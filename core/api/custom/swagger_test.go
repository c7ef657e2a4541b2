package custom

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/kube-openapi/pkg/validation/spec"
)

func TestOlderSchemas(t *testing.T) {
	for _, tc := range []struct{ name, in, want string }{
		{"plain", `{"type":"object","properties":{"a":{"type":"string"}}}`, `{"type":"object","properties":{"a":{"type":"string"}}}`},
		{"choices", `{"type":"object","oneOf":[{"required":["a"]}],"not":{"required":["b"]},"allOf":[{"required":["c"]}]}`, `{"type":"object"}`},
		{"a reference stays", `{"allOf":[{"$ref":"#/definitions/x"}]}`, `{"allOf":[{"$ref":"#/definitions/x"}]}`},
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
