package apiserver

import (
	"bytes"
	"encoding/json"
	"net/url"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/api/all"
)

// examplePod has a little of everything.
const examplePod = `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","labels":{"a":"b"},"creationTimestamp":null},"spec":{"containers":[{"name":"c","image":"i",` +
	`"ports":[{"containerPort":80}],"resources":{"limits":{"cpu":"100m"}},"livenessProbe":{"httpGet":{"port":"http"}}}],"terminationGracePeriodSeconds":30,"hostNetwork":true}}`

// FuzzDecode: no body makes the decoders panic, and what they take of text is the same object when it is sent again.
func FuzzDecode(f *testing.F) {
	kinds := all.Kinds()
	r := kinds.Resource(corev1.SchemeGroupVersion.WithResource("pods"))
	var pod corev1.Pod
	if err := json.Unmarshal([]byte(examplePod), &pod); err != nil {
		f.Fatal(err)
	}
	raw, err := pod.Marshal()
	if err != nil {
		f.Fatal(err)
	}
	wire := api.Envelope(&runtime.Unknown{TypeMeta: runtime.TypeMeta{APIVersion: "v1", Kind: "Pod"}}, raw)
	for _, body := range []string{
		examplePod, `{}`, `null`, `[]`, `{"metadata":null}`, `{"spec":{"containers":[null]}}`, `{"metadata":{"name":"a","name":"b"}}`,
		"metadata: {name: a}\nspec: {containers: [&c {name: c}, *c]}", "- a", "a: &a [*a]", "? {a: b}\n: c", "%YAML 9", string(wire), "k8s\x00", "k8s\x00\x0a\xff\xff\xff\xff\x0f",
	} {
		for mode := range byte(9) {
			f.Add([]byte(body), mode)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, mode byte) {
		mediaType := []string{typeJSON, typeYAML, typeProtobuf}[mode%3]
		strict := []api.FieldValidation{api.ValidationStrict, api.ValidationWarn, api.ValidationIgnore}[mode/3%3]
		obj := &corev1.Pod{}
		if decodeBody(mediaType, data, obj, targetOf(r), strict, func(string) {}) == nil {
			sent, err := encode(view{format: typeJSON}, obj)
			if err != nil || mediaType == typeProtobuf {
				return // a time that has no text; or what JSON cannot tell, such as the zero time or text that is no UTF-8
			}
			again := &corev1.Pod{}
			if err := decodeBody(typeJSON, sent, again, targetOf(r), api.ValidationStrict, nil); err != nil {
				t.Fatalf("%q cannot be decoded again: %v", sent, err)
			}
			twice, err := encode(view{format: typeJSON}, again)
			if err != nil || !bytes.Equal(sent, twice) {
				t.Errorf("%q became %q (%v)", sent, twice, err)
			}
		}
		_ = decodeBody(mediaType, data, &unstructured.Unstructured{}, target{gvk: r.GroupVersionKind()}, strict, func(string) {})
		_ = decodeDeleteOptions(mediaType, data, &metav1.DeleteOptions{})
	})
}

// FuzzPatch: no patch makes the server panic, and what comes out of one is JSON.
func FuzzPatch(f *testing.F) {
	kinds := []types.PatchType{types.JSONPatchType, types.MergePatchType, types.StrategicMergePatchType}
	for i, patch := range []string{
		`[{"op":"add","path":"/metadata/labels/x","value":"y"},{"op":"test","path":"/kind","value":"Pod"},{"op":"move","from":"/spec","path":"/x"}]`,
		`[{"op":"copy","from":"","path":"/a"},{"op":"remove","path":"/spec/containers/-1"},{"op":"replace","path":"/spec/containers/0~1"}]`,
		`[{"op":"add","path":"/spec/containers/-","value":null},{"op":"add"},{},null]`,
		`{"metadata":{"labels":{"a":null}},"spec":null}`, `[]`, `null`, `"x"`,
		`{"spec":{"containers":[{"name":"c","$patch":"delete"},{"$patch":"replace"}],"$setElementOrder/containers":[{"name":"c"}]}}`,
		`{"spec":{"$retainKeys":["containers"],"$deleteFromPrimitiveList/x":[1],"containers":{"a":1}}}`,
	} {
		f.Add([]byte(patch), byte(i))
		f.Add([]byte(patch), byte(i+1))
		f.Add([]byte(patch), byte(i+2))
	}
	f.Fuzz(func(t *testing.T, patch []byte, kind byte) {
		out, err := runPatch(&api.Patch{Type: kinds[int(kind)%len(kinds)], Data: patch}, []byte(examplePod), &corev1.Pod{})
		if err == nil && !json.Valid(out) {
			t.Errorf("%q is no JSON", out)
		}
	})
}

// FuzzQuery: no query makes the server panic; a selector that it takes means the same when it is written out.
func FuzzQuery(f *testing.F) {
	r := all.Kinds().Resource(corev1.SchemeGroupVersion.WithResource("pods"))
	for _, q := range []string{
		"labelSelector=a%3Db,c+in+(d,e),!f,g+notin+()", "fieldSelector=spec.nodeName%3Dn,metadata.name!%3Dx", "limit=5&continue=e30", "watch=1&timeoutSeconds=-1",
		"resourceVersion=0&resourceVersionMatch=Exact", "sendInitialEvents=true", "labelSelector=a%3E5", "fieldSelector=a%5C%3Db", "labelSelector=%00", ";", "continue=eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MSwic3RhcnQiOiJhIn0",
	} {
		f.Add(q)
	}
	f.Fuzz(func(t *testing.T, text string) {
		query, err := url.ParseQuery(text)
		if err != nil {
			return
		}
		_, _, _, _ = decodeContinue(query.Get("continue"), r)
		o, err := parseListOptions(query)
		if err != nil {
			return
		}
		_ = o.check(true)
		_, _ = newSelection(&api.Request{Resource: r}, o)
		if o.Labels == nil {
			return
		}
		again, err := parseListOptions(url.Values{"labelSelector": {o.Labels.String()}})
		if err != nil || selectorText(again.Labels) != o.Labels.String() {
			t.Errorf("%q became %q (%v)", o.Labels, selectorText(again.Labels), err)
		}
	})
}
