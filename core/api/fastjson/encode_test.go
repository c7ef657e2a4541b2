package fastjson_test

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/apitesting/fuzzer"
	"k8s.io/apimachinery/pkg/api/resource"
	metafuzzer "k8s.io/apimachinery/pkg/apis/meta/fuzzer"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/gantryio/gantry/core/api/fastjson"
)

// same encodes obj both ways.
func same(t *testing.T, obj any) {
	t.Helper()
	want, wantErr := json.Marshal(obj)
	got, err := fastjson.Append([]byte("before"), obj)
	if (err != nil) != (wantErr != nil) {
		t.Fatalf("%T: got error %v, want %v", obj, err, wantErr)
	}
	if got, _ = bytes.CutPrefix(got, []byte("before")); !bytes.Equal(got, want) {
		t.Fatalf("%T:\n got %.2000s\nwant %.2000s", obj, got, want)
	}
}

func TestFilledObjects(t *testing.T) {
	fill := fuzzer.FuzzerFor(metafuzzer.Funcs, rand64{rand.New(rand.NewPCG(5, 6))}, serializer.NewCodecFactory(scheme.Scheme))
	for _, like := range types {
		for range 200 {
			obj := reflect.New(reflect.TypeOf(like).Elem()).Interface()
			same(t, obj)
			fill.Fill(obj)
			same(t, obj)
		}
	}
}

type odd struct {
	Float float64 `json:"float,omitempty"`
	Any   any     `json:"any,omitempty"`
}

type chain struct {
	Name string `json:"na<me"`
	Next *chain `json:"next,omitempty"`
	List []chain
}

func TestOddities(t *testing.T) {
	deep := &chain{}
	for range 500 {
		deep = &chain{Name: "x", Next: deep}
	}
	for name, obj := range map[string]any{
		"texts":           &corev1.ConfigMap{Data: map[string]string{"a": "<>&\u2028\u2029\x7f\x00\x1f\b\f\n\r\t\"\\/\xff\xc3ä€😀", "": strings.Repeat("y", 300)}},
		"many keys":       &corev1.ConfigMap{Data: numbered(40)},
		"bytes":           &corev1.ConfigMap{BinaryData: map[string][]byte{"a": nil, "b": {}, "c": {0, 255}}},
		"empty and nil":   &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{}, Volumes: []corev1.Volume{}, NodeSelector: map[string]string{}}},
		"quantities":      &corev1.Node{Status: corev1.NodeStatus{Capacity: corev1.ResourceList{"cpu": resource.MustParse("100m"), "memory": resource.MustParse("3Gi")}}},
		"fields":          &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{ManagedFields: []metav1.ManagedFieldsEntry{{FieldsV1: &metav1.FieldsV1{Raw: []byte(`{"f:a":{}}`)}}}}},
		"spaced fields":   &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{ManagedFields: []metav1.ManagedFieldsEntry{{FieldsV1: &metav1.FieldsV1{Raw: []byte(`{"f:a<": { } }`)}}}}},
		"broken fields":   &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{ManagedFields: []metav1.ManagedFieldsEntry{{FieldsV1: &metav1.FieldsV1{Raw: []byte(`{"f:a":{}`)}}}}},
		"raw":             &appsv1.ControllerRevision{Data: runtime.RawExtension{Raw: []byte(`{"spec":{"a":"b"}}`)}},
		"no raw":          &appsv1.ControllerRevision{},
		"a time":          &metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(time.Unix(1e9, 5)), DeletionTimestamp: &metav1.Time{}},
		"a time of 10000": &metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC))},
		"floats":          &odd{Float: 1.5, Any: map[string]int{"a": 1}},
		"recursion":       &chain{Name: "a", Next: &chain{Name: "b"}, List: []chain{{Name: "c"}}},
		"depth":           deep,
		"a slice":         &[]string{"a"},
		"nothing":         (*corev1.Pod)(nil),
		"no pointer":      corev1.ConfigMap{Data: map[string]string{"a": "b"}},
		"a quantity":      new(resource.MustParse("1")),
	} {
		t.Run(name, func(t *testing.T) { same(t, obj) })
	}
}

func numbered(n int) map[string]string {
	out := map[string]string{}
	for i := range n {
		out[string(rune('a'+i))] = "x"
	}
	return out
}

func BenchmarkEncodeConfigMap(b *testing.B) {
	obj := &corev1.ConfigMap{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
		ObjectMeta: metav1.ObjectMeta{Name: "a", Namespace: "b", Labels: map[string]string{"app": "bench"}, CreationTimestamp: metav1.Now()},
		Data:       map[string]string{"k": strings.Repeat("x", 900)},
	}
	b.Run("fastjson", func(b *testing.B) {
		b.ReportAllocs()
		var buf []byte
		for b.Loop() {
			buf, _ = fastjson.Append(buf[:0], obj)
		}
	})
	b.Run("library", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = json.Marshal(obj)
		}
	})
}
