package fastjson_test

import (
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/apitesting/fuzzer"
	metafuzzer "k8s.io/apimachinery/pkg/apis/meta/fuzzer"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/kubernetes/scheme"
	kjson "sigs.k8s.io/json"

	"github.com/gantryio/gantry/core/api/fastjson"
)

var types = []any{
	&corev1.Pod{}, &corev1.ConfigMap{}, &corev1.Secret{}, &corev1.Node{}, &corev1.Service{}, &corev1.Event{},
	&appsv1.Deployment{}, &appsv1.StatefulSet{}, &appsv1.ControllerRevision{},
	&discoveryv1.EndpointSlice{}, &rbacv1.ClusterRole{},
}

// agree decodes data both ways and fails when the quick way took what the library sees otherwise. It
// returns what the two did.
func agree(t *testing.T, data []byte, like any) (quick, plain bool) {
	t.Helper()
	fresh := func() any { return reflect.New(reflect.TypeOf(like).Elem()).Interface() }
	got, want := fresh(), fresh()
	quick = fastjson.Unmarshal(data, got)
	loose, err := kjson.UnmarshalStrict(data, want)
	plain = err == nil && len(loose) == 0
	switch {
	case quick && !plain:
		t.Errorf("took what the library refuses (%v %v): %.500s", err, loose, data)
	case quick && !reflect.DeepEqual(got, want):
		t.Errorf("decoded differently: %s\n%.500s", cmp.Diff(want, got), data)
	case !quick && !reflect.DeepEqual(got, fresh()):
		t.Errorf("left something behind: %v", got)
	}
	agreeUntyped(t, data, quick)
	return quick, plain
}

// agreeUntyped does so for maps; what was decoded as an object can be decoded as a map, unless it has a fraction.
func agreeUntyped(t *testing.T, data []byte, typed bool) {
	t.Helper()
	got, quick := fastjson.Untyped(data)
	var want map[string]any
	loose, err := kjson.UnmarshalStrict(data, &want)
	switch {
	case quick && (err != nil || len(loose) > 0):
		t.Errorf("took as a map what the library refuses (%v %v): %.500s", err, loose, data)
	case quick && !reflect.DeepEqual(got, want):
		t.Errorf("decoded a map differently: %s\n%.500s", cmp.Diff(want, got), data)
	case typed && !quick && err == nil && len(loose) == 0 && want != nil && !fractions.Match(data):
		t.Errorf("left to the library as a map what was decoded as an object: %.500s", data)
	}
}

var fractions = regexp.MustCompile(`[0-9][.eE]`)

func TestEveryPlainObject(t *testing.T) {
	fill := fuzzer.FuzzerFor(metafuzzer.Funcs, rand64{rand.New(rand.NewPCG(1, 2))}, serializer.NewCodecFactory(scheme.Scheme))
	for _, like := range types {
		for range 200 {
			obj := reflect.New(reflect.TypeOf(like).Elem()).Interface()
			fill.Fill(obj)
			data, err := json.Marshal(obj)
			if err != nil {
				t.Fatal(err)
			}
			if quick, plain := agree(t, data, like); plain && !quick && !surrogates(data) {
				t.Fatalf("left a plain %T to the library: %.3000s", obj, data)
			}
		}
	}
}

// surrogates are what json.Marshal does not write, but the filler's strings may hold U+FFFD from.
func surrogates(data []byte) bool { return strings.Contains(string(data), `\ud`) }

func TestBrokenObjects(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	fill := fuzzer.FuzzerFor(metafuzzer.Funcs, rand64{r}, serializer.NewCodecFactory(scheme.Scheme))
	for _, like := range types {
		for range 300 {
			obj := reflect.New(reflect.TypeOf(like).Elem()).Interface()
			fill.Fill(obj)
			data, err := json.Marshal(obj)
			if err != nil {
				t.Fatal(err)
			}
			for range 5 {
				agree(t, damage(r, data), like)
			}
		}
	}
}

// damage changes, doubles, moves or removes some of the data.
func damage(r *rand.Rand, data []byte) []byte {
	out := append([]byte(nil), data...)
	from := r.IntN(len(out))
	to := from + r.IntN(min(40, len(out)-from)+1)
	switch r.IntN(5) {
	case 0:
		out[from] = "\"\\{}[]:,0 nx\x01\xff.-e"[r.IntN(17)]
	case 1:
		out = append(out[:from:from], out[to:]...)
	case 2:
		out = append(out[:to:to], out[from:]...)
	case 3:
		out = append(append(append([]byte(nil), out[:from]...), "null"...), out[to:]...)
	default:
		at := r.IntN(len(out))
		out = append(append(append([]byte(nil), out[:at]...), data[from:to]...), out[at:]...)
	}
	return out
}

func TestTexts(t *testing.T) {
	for _, test := range []struct {
		name, data string
		quick      bool
	}{
		{"space everywhere", " { \"data\" : { \"a\" : \"b\" , \"c\":\t\"d\" }\n} ", true},
		{"escapes", `{"data":{"a\n":"\"\\\/\b\f\n\r\tä€\u003c"}}`, true},
		{"surrogates", `{"data":{"a":"\ud83d\ude00"}}`, false},
		{"an emoji", `{"data":{"a":"😀"}}`, true},
		{"not UTF-8", "{\"data\":{\"a\":\"\xff\"}}", false},
		{"a control character", "{\"data\":{\"a\":\"\x01\"}}", false},
		{"nulls", `{"metadata":{"creationTimestamp":null,"labels":null,"ownerReferences":null,"name":null},"data":null,"immutable":null}`, true},
		{"a null in a map", `{"data":{"a":null}}`, true},
		{"an empty map", `{"data":{},"metadata":{"finalizers":[]}}`, true},
		{"bytes", `{"binaryData":{"a":"aGk="}}`, true},
		{"bad bytes", `{"binaryData":{"a":"aGk"}}`, false},
		{"an unknown field", `{"metadata":{"nam":"x"}}`, false},
		{"another case", `{"Metadata":{"name":"x"}}`, false},
		{"a field twice", `{"metadata":{"name":"x","name":"x"}}`, false},
		{"a key twice", `{"data":{"a":"b","a":"b"}}`, false},
		{"a fraction", `{"metadata":{"generation":1.0}}`, false},
		{"minus", `{"metadata":{"generation":-12}}`, true},
		{"a leading zero", `{"metadata":{"generation":012}}`, false},
		{"too large", `{"metadata":{"generation":9223372036854775808}}`, false},
		{"a wrong type", `{"metadata":[]}`, false},
		{"a trailing comma", `{"data":{"a":"b",}}`, false},
		{"something after it", `{} {}`, false},
		{"nothing", ``, false},
		{"null", `null`, true},
		{"truex", `{"immutable":truex}`, false},
		{"fields", `{"metadata":{"managedFields":[{"fieldsV1":{"f:data":{".":{}}},"time":"2024-01-01T00:00:00Z"}]}}`, true},
		{"broken fields", `{"metadata":{"managedFields":[{"fieldsV1":{"f:data":{.:{}}}}]}}`, false},
		{"a bad time", `{"metadata":{"creationTimestamp":"yesterday"}}`, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			if quick, _ := agree(t, []byte(test.data), &corev1.ConfigMap{}); quick != test.quick {
				t.Errorf("taken: %t, want %t", quick, test.quick)
			}
		})
	}
}

func FuzzAgainstTheLibrary(f *testing.F) {
	f.Add([]byte(`{"kind":"Pod","metadata":{"name":"a","labels":{"b":"c"}},"spec":{"containers":[{"name":"x","ports":[{"containerPort":80}],"resources":{"limits":{"cpu":"1"}}}]}}`))
	f.Fuzz(func(t *testing.T, data []byte) { agree(t, data, &corev1.Pod{}) })
}

func BenchmarkConfigMap(b *testing.B) {
	data := []byte(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","namespace":"b","labels":{"app":"bench"}},"data":{"k":"` + strings.Repeat("x", 900) + `"}}`)
	b.Run("fastjson", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			fastjson.Unmarshal(data, &corev1.ConfigMap{})
		}
	})
	b.Run("library", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = kjson.UnmarshalStrict(data, &corev1.ConfigMap{})
		}
	})
}

type rand64 struct{ *rand.Rand }

func (r rand64) Int63() int64 { return r.Int64() }
func (r rand64) Seed(int64)   {}
