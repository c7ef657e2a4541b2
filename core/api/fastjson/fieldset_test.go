package fastjson

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var fieldSets = []string{
	`{}`, `{"f:a":{}}`, `{"f:a":{},"f:b":{".":{},"f:c":{}}}`, `{"k:{\"name\":\"a\"}":{"f:x":{}}}`, `{"v:\"a\\\\b\"":{}}`, `{"a":{"b":{"c":{}}},"d":{}}`,
	``, `{`, `}`, `{}}`, `{}{}`, `{"a"}`, `{"a":}`, `{"a":1}`, `{"a":{}`, `{"a":{},}`, `{,"a":{}}`, `{"a":{}"b":{}}`, `{ }`, `{"a" :{}}`, `{"a\n":{}}`, `{"a\":{}}`, `{"<":{}}`,
	`{"é":{}}`, `null`, `[]`, `{"a":{}}x`, "{\"\x00\":{}}",
}

func checkFieldSet(t *testing.T, text string) {
	var small bytes.Buffer
	plain := json.Valid([]byte(text)) && json.Compact(&small, []byte(text)) == nil && small.String() == text && !strings.ContainsAny(text, "<>&\u2028\u2029")
	if isFieldSet([]byte(text)) && !plain {
		t.Errorf("%q is taken as it is", text)
	}
	obj := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{ManagedFields: []metav1.ManagedFieldsEntry{{FieldsV1: &metav1.FieldsV1{Raw: []byte(text)}}}}}
	want, err := json.Marshal(obj)
	if got, wrong := Append(nil, obj); string(got) != string(want) || (wrong == nil) != (err == nil) {
		t.Errorf("%q: %s, %v, want %s, %v", text, got, wrong, want, err)
	}
}

func TestFieldSets(t *testing.T) {
	for i, text := range fieldSets {
		if got, want := isFieldSet([]byte(text)), i < 6; got != want {
			t.Errorf("isFieldSet(%q) is %t, want %t", text, got, want)
		}
		checkFieldSet(t, text)
	}
	deep := strings.Repeat(`{"f:a":`, 300) + "{}" + strings.Repeat("}", 300)
	if isFieldSet([]byte(deep)) {
		t.Error("there is no end to depth")
	}
}

func FuzzFieldSets(f *testing.F) {
	for _, text := range fieldSets {
		f.Add(text)
	}
	f.Fuzz(checkFieldSet)
}
