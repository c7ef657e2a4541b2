package apiserver_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func TestPatches(t *testing.T) {
	ns := shared.namespace(t)
	maps := shared.typed(t).CoreV1().ConfigMaps(ns)
	for _, c := range []struct {
		name  string
		kind  types.PatchType
		patch string
		data  map[string]string
		code  int32
		part  string
	}{
		{name: "json", kind: types.JSONPatchType, patch: `[{"op":"test","path":"/data/a","value":"1"},{"op":"replace","path":"/data/a","value":"2"},{"op":"add","path":"/data/b","value":"3"}]`, data: map[string]string{"a": "2", "b": "3"}},
		{name: "json-test", kind: types.JSONPatchType, patch: `[{"op":"test","path":"/data/a","value":"9"}]`, code: 422, part: "the server rejected our request due to an error in our request"},
		{name: "json-path", kind: types.JSONPatchType, patch: `[{"op":"remove","path":"/data/z"}]`, code: 422, part: "the server rejected our request due to an error in our request"},
		{name: "json-bad", kind: types.JSONPatchType, patch: `{"op":"test"}`, code: 400},
		{name: "merge", kind: types.MergePatchType, patch: `{"data":{"a":null,"b":"2"}}`, data: map[string]string{"b": "2"}},
		{name: "merge-bad", kind: types.MergePatchType, patch: `{"data":`, code: 400},
		{name: "merge-type", kind: types.MergePatchType, patch: `{"data":{"a":5}}`, code: 422, part: "patch: Invalid value"},
		{name: "strategic", kind: types.StrategicMergePatchType, patch: `{"data":{"$patch":"replace","b":"2"}}`, data: map[string]string{"b": "2"}},
		{name: "old", kind: types.MergePatchType, patch: `{"metadata":{"resourceVersion":"1"},"data":{"a":"2"}}`, code: 409, part: "the object has been modified"},
		{name: "uid", kind: types.MergePatchType, patch: `{"metadata":{"uid":"x"},"data":{"a":"2"}}`, code: 409, part: "UID in precondition: x"},
		{name: "rename", kind: types.MergePatchType, patch: `{"metadata":{"name":"x"}}`, code: 400, part: "does not match the name on the URL"},
		{name: "move", kind: types.MergePatchType, patch: `{"metadata":{"namespace":"x"}}`, code: 400, part: "does not match the namespace sent on the request"},
		{name: "invalid", kind: types.MergePatchType, patch: `{"data":{"a/b":"2"}}`, code: 422, part: "data[a/b]: Invalid value"},
		{name: "type", kind: "application/unknown", patch: `{}`, code: 415, part: "accepted media types include: application/json-patch+json"},
	} {
		t.Run(c.name, func(t *testing.T) {
			must(maps.Create(t.Context(), configMap(c.name, "a", "1"), metav1.CreateOptions{}))(t)
			got, err := maps.Patch(t.Context(), c.name, c.kind, []byte(c.patch), metav1.PatchOptions{})
			if c.code != 0 {
				if s, ok := err.(interface{ Status() metav1.Status }); !ok || s.Status().Code != c.code || !strings.Contains(s.Status().Message, c.part) {
					t.Errorf("got %v, want %d %s", err, c.code, c.part)
				}
				return
			}
			if err != nil || fmt.Sprint(got.Data) != fmt.Sprint(c.data) {
				t.Errorf("got %v %v, want %v", got.Data, err, c.data)
			}
		})
	}
	_, err := maps.Patch(t.Context(), "absent", types.MergePatchType, []byte(`{}`), metav1.PatchOptions{})
	wantStatus(t, err, 404, metav1.StatusReasonNotFound, `configmaps "absent" not found`)
	_, err = maps.Patch(t.Context(), "json", types.MergePatchType, []byte(`{}`), metav1.PatchOptions{Force: new(true)})
	wantStatus(t, err, 422, metav1.StatusReasonInvalid, "force: Forbidden: may not be specified for non-apply patch")
}

func TestAStrategicMergeKnowsListKeys(t *testing.T) {
	ns := shared.namespace(t)
	apps := shared.typed(t).AppsV1().Deployments(ns)
	must(apps.Create(t.Context(), deployment("d", 1), metav1.CreateOptions{}))(t)
	got := must(apps.Patch(t.Context(), "d", types.StrategicMergePatchType,
		[]byte(`{"spec":{"template":{"spec":{"containers":[{"name":"main","image":"new"},{"name":"side","image":"s"}]}}}}`), metav1.PatchOptions{}))(t)
	images := ""
	for _, c := range got.Spec.Template.Spec.Containers {
		images += c.Name + "=" + c.Image + " "
	}
	if images != "main=new side=s " && images != "side=s main=new " || got.Generation != 2 {
		t.Errorf("containers %s, generation %d", images, got.Generation)
	}
	_, err := apps.Patch(t.Context(), "d", types.StrategicMergePatchType, []byte(`{"spec":{"nonsense":1}}`), metav1.PatchOptions{FieldValidation: "Strict"})
	wantStatus(t, err, 422, metav1.StatusReasonInvalid, `strict decoding error: unknown field "spec.nonsense"`)
	_, err = apps.Patch(t.Context(), "d", types.StrategicMergePatchType, []byte(`{"spec":{"replicas":-1}}`), metav1.PatchOptions{})
	wantStatus(t, err, 422, metav1.StatusReasonInvalid, "spec.replicas: Invalid value: -1")
}

func TestPatchesRetryConflicts(t *testing.T) {
	ns := shared.namespace(t)
	maps := shared.typed(t).CoreV1().ConfigMaps(ns)
	must(maps.Create(t.Context(), configMap("a", "k", "v"), metav1.CreateOptions{}))(t)
	const writers, each = 4, 10
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				patch := fmt.Sprintf(`{"data":{"%d-%d":"x"}}`, w, i)
				if _, err := maps.Patch(t.Context(), "a", types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got := must(maps.Get(t.Context(), "a", metav1.GetOptions{}))(t); len(got.Data) != writers*each+1 {
		t.Errorf("%d keys, want %d", len(got.Data), writers*each+1)
	}
}
