package apiserver_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
)

const definition = `{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"PLURAL.example.com"},
"spec":{"group":"example.com","scope":"Namespaced","names":{"plural":"PLURAL","singular":"SINGULAR","kind":"KIND","shortNames":["SHORT"],"categories":["all"]},
"versions":[{"name":"v1","served":true,"storage":true,
 "subresources":{"status":{},"scale":{"specReplicasPath":".spec.replicas","statusReplicasPath":".status.replicas","labelSelectorPath":".status.selector"}},
 "additionalPrinterColumns":[{"name":"Size","type":"integer","jsonPath":".spec.replicas"},{"name":"Color","type":"string","jsonPath":".spec.color"},{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}],
 "selectableFields":[{"jsonPath":".spec.color"}],
 "schema":{"openAPIV3Schema":{"type":"object","properties":{
  "spec":{"type":"object","required":["color"],"properties":{
   "color":{"type":"string","enum":["red","green"]},
   "replicas":{"type":"integer","default":1,"minimum":0},
   "ports":{"type":"array","x-kubernetes-list-type":"map","x-kubernetes-list-map-keys":["port"],"items":{"type":"object","required":["port"],"properties":{"port":{"type":"integer"},"name":{"type":"string"}}}},
   "any":{"type":"object","x-kubernetes-preserve-unknown-fields":true},
   "limit":{"x-kubernetes-int-or-string":true}},
   "x-kubernetes-validations":[{"rule":"self.replicas <= 10","message":"too many"},{"rule":"self.color == oldSelf.color","message":"color is immutable"}]},
  "status":{"type":"object","properties":{"replicas":{"type":"integer"},"selector":{"type":"string"}}}}}}},
 {"name":"v1beta1","served":true,"storage":false,"schema":{"openAPIV3Schema":{"type":"object","x-kubernetes-preserve-unknown-fields":true}},"subresources":{"status":{}}}]}}`

const definitionsURL = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"

// define creates a definition and accepts its names, as the controller does.
func define(t *testing.T, c *cluster, kind string) dynamic.NamespaceableResourceInterface {
	t.Helper()
	plural := strings.ToLower(kind) + "s"
	body := strings.NewReplacer("PLURAL", plural, "SINGULAR", strings.ToLower(kind), "KIND", kind, "SHORT", strings.ToLower(kind[:2])).Replace(definition)
	if got := c.request(t, http.MethodPost, definitionsURL, body); got.Code != http.StatusCreated {
		t.Fatalf("define %s: %d %s", kind, got.Code, got.Body)
	}
	status := `{"status":{"conditions":[{"type":"Established","status":"True","reason":"InitialNamesAccepted","lastTransitionTime":"2026-01-01T00:00:00Z"}],` +
		`"acceptedNames":{"plural":"` + plural + `","kind":"` + kind + `","listKind":"` + kind + `List"}}}`
	got := c.request(t, http.MethodPatch, definitionsURL+"/"+plural+".example.com/status", status, "Content-Type", "application/merge-patch+json")
	if got.Code != http.StatusOK {
		t.Fatalf("establish %s: %d %s", kind, got.Code, got.Body)
	}
	return c.dynamic(t).Resource(schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: plural})
}

func custom(kind, name string, spec map[string]any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "example.com/v1", "kind": kind, "metadata": map[string]any{"name": name}, "spec": spec,
	}}
}

func TestCustomObjects(t *testing.T) {
	gadgets := define(t, shared, "Gadget").Namespace("default")
	ctx := t.Context()
	made, err := gadgets.Create(ctx, custom("Gadget", "one", map[string]any{
		"color": "red", "bogus": true, "any": map[string]any{"thing": int64(1)}, "limit": "5%",
	}), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"color": "red", "replicas": int64(1), "any": map[string]any{"thing": int64(1)}, "limit": "5%"}
	if diff := cmp.Diff(want, made.Object["spec"]); diff != "" {
		t.Errorf("pruned and defaulted (-want +got):\n%s", diff)
	}
	if made.GetGeneration() != 1 || made.GetUID() == "" || len(made.GetManagedFields()) != 1 {
		t.Errorf("metadata: %v", made.Object["metadata"])
	}
	_, err = gadgets.Create(ctx, custom("Gadget", "strict", map[string]any{"color": "red", "bogus": true}), metav1.CreateOptions{FieldValidation: "Strict"})
	if err == nil || !strings.Contains(err.Error(), `strict decoding error: unknown field "spec.bogus"`) {
		t.Errorf("an unknown field: %v", err)
	}
	for spec, text := range map[string]string{
		`{"color":"blue"}`:               `spec.color: Unsupported value: "blue": supported values: "red", "green"`,
		`{}`:                             "spec.color: Required value",
		`{"color":"red","replicas":"x"}`: `spec.replicas: Invalid value: "string": spec.replicas in body must be of type integer: "string"`,
		`{"color":"red","replicas":11}`:  "spec: Invalid value: too many",
		`{"color":"red","ports":[{"port":1},{"port":1}]}`: `spec.ports[1]: Duplicate value: {"port":1}`,
	} {
		var content map[string]any
		if err := json.Unmarshal([]byte(spec), &content); err != nil {
			t.Fatal(err)
		}
		if n, ok := content["replicas"].(float64); ok {
			content["replicas"] = int64(n)
		}
		_, err := gadgets.Create(ctx, custom("Gadget", "bad", content), metav1.CreateOptions{})
		if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v, want %s", spec, err, text)
		}
	}
	made.Object["spec"].(map[string]any)["color"] = "green"
	if _, err := gadgets.Update(ctx, made, metav1.UpdateOptions{}); !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "color is immutable") {
		t.Errorf("a transition rule: %v", err)
	}
	made.Object["spec"].(map[string]any)["color"] = "red"
	made.Object["status"] = map[string]any{"replicas": int64(3)}
	made.Object["spec"].(map[string]any)["replicas"] = int64(2)
	updated, err := gadgets.Update(ctx, made, metav1.UpdateOptions{})
	if err != nil || updated.GetGeneration() != 2 || updated.Object["status"] != nil {
		t.Fatalf("an update changed the status or not the generation: %v, %v", updated, err)
	}
	updated.Object["status"] = map[string]any{"replicas": int64(2), "selector": "a=b"}
	updated.Object["spec"] = map[string]any{"color": "green"}
	updated, err = gadgets.UpdateStatus(ctx, updated, metav1.UpdateOptions{})
	if err != nil || updated.GetGeneration() != 2 || updated.Object["spec"].(map[string]any)["color"] != "red" {
		t.Fatalf("a write of the status changed the rest: %v, %v", updated, err)
	}
	patched, err := gadgets.Patch(ctx, "one", types.MergePatchType, []byte(`{"spec":{"replicas":4}}`), metav1.PatchOptions{})
	if err != nil || patched.Object["spec"].(map[string]any)["replicas"] != int64(4) {
		t.Errorf("a merge patch: %v, %v", patched, err)
	}
	if _, err := gadgets.Patch(ctx, "one", types.StrategicMergePatchType, []byte(`{}`), metav1.PatchOptions{}); !apierrors.IsUnsupportedMediaType(err) {
		t.Errorf("a strategic merge patch: %v", err)
	}
	scale, err := gadgets.Get(ctx, "one", metav1.GetOptions{}, "scale")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]any{"replicas": int64(2), "selector": "a=b"}, scale.Object["status"]); diff != "" {
		t.Errorf("scale: %s", diff)
	}
}

func TestCustomObjectsAreAppliedByOwners(t *testing.T) {
	widgets := define(t, shared, "Widget").Namespace("default")
	apply := func(manager string, spec map[string]any) (*unstructured.Unstructured, error) {
		return widgets.Apply(t.Context(), "one", custom("Widget", "one", spec), metav1.ApplyOptions{FieldManager: manager})
	}
	port := func(n int64, name string) map[string]any { return map[string]any{"port": n, "name": name} }
	if _, err := apply("a", map[string]any{"color": "red", "ports": []any{port(1, "one")}}); err != nil {
		t.Fatal(err)
	}
	got, err := apply("b", map[string]any{"ports": []any{port(2, "two")}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]any{port(1, "one"), port(2, "two")}, got.Object["spec"].(map[string]any)["ports"]); diff != "" {
		t.Errorf("a list that is a map (-want +got):\n%s", diff)
	}
	if _, err := apply("b", map[string]any{"ports": []any{port(1, "uno")}}); !apierrors.IsConflict(err) || !strings.Contains(err.Error(), `conflict with "a": .spec.ports[port=1].name`) {
		t.Errorf("somebody else's field: %v", err)
	}
	got, err = apply("b", nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]any{port(1, "one")}, got.Object["spec"].(map[string]any)["ports"]); diff != "" {
		t.Errorf("what b gave up (-want +got):\n%s", diff)
	}
}

// What is not there is not found, whatever else is wrong. Apply goes by the schema before anything is decoded, in Strict mode too.
func TestRefusedWritesOfCustomObjects(t *testing.T) {
	define(t, shared, "Doodad")
	none := shared.request(t, http.MethodPut, "/apis/example.com/v1/namespaces/default/doodads/none", `{"apiVersion":"example.com/v1","kind":"Doodad","metadata":{"name":"none"},"spec":{"color":"red"}}`)
	if none.Code != http.StatusNotFound {
		t.Errorf("an update of nothing: %d %s", none.Code, none.Body)
	}
	for body, want := range map[string]string{
		`{"apiVersion":"example.com/v1","kind":"Doodad","metadata":{"name":"a"},"bogus":1,"spec":{"color":"red"}}`:           ".bogus: field not declared in schema",
		`{"apiVersion":"example.com/v1","kind":"Doodad","metadata":{"name":"a","bogus":1},"spec":{"color":"red"}}`:           ".metadata.bogus: field not declared in schema",
		`{"apiVersion":"example.com/v1","kind":"Doodad","metadata":{"name":"a"},"spec":{"color":"red","color":"green"}}`:     `key "color" already set in map`,
		`{"apiVersion":"example.com/v1","kind":"Doodad","metadata":{"name":"a"},"spec":{"color":"red","any":{"bogus":"x"}}}`: "",
	} {
		got := shared.request(t, http.MethodPatch, "/apis/example.com/v1/namespaces/default/doodads/a?fieldManager=m&fieldValidation=Strict", body, "Content-Type", "application/apply-patch+yaml")
		if ok := got.Code < 300; ok != (want == "") || !ok && (got.Code != http.StatusBadRequest || !strings.Contains(strings.ReplaceAll(string(got.Body), `\"`, `"`), want)) {
			t.Errorf("%s: %d %s, want %q", body, got.Code, got.Body, want)
		}
	}
}

func TestCustomObjectsAreListedAndWatched(t *testing.T) {
	things := define(t, shared, "Thing")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	w, err := things.Watch(ctx, metav1.ListOptions{FieldSelector: "spec.color=green"})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	for name, color := range map[string]string{"a": "red", "b": "green"} {
		if _, err := things.Namespace("default").Create(ctx, custom("Thing", name, map[string]any{"color": color}), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if e := <-w.ResultChan(); e.Object.(*unstructured.Unstructured).GetName() != "b" {
		t.Errorf("watched %v", e)
	}
	list, err := things.List(ctx, metav1.ListOptions{FieldSelector: "spec.color!=green"})
	if err != nil || len(list.Items) != 1 || list.Items[0].GetName() != "a" || list.GetKind() != "ThingList" {
		t.Errorf("listed %v, %v", list, err)
	}
	if _, err := things.List(ctx, metav1.ListOptions{FieldSelector: "spec.size=1"}); err == nil || !strings.Contains(err.Error(), "field label not supported: spec.size") {
		t.Errorf("a field that is not selectable: %v", err)
	}
	const path = "/apis/example.com/v1/namespaces/default/things"
	table := shared.request(t, http.MethodGet, path, "", "Accept", "application/json;as=Table;v=v1;g=meta.k8s.io")
	for _, part := range []string{`"name":"Size","type":"integer"`, `"cells":["a",1,"red","`} {
		if !strings.Contains(string(table.Body), part) {
			t.Errorf("no %s in %s", part, table.Body)
		}
	}
	beta := shared.request(t, http.MethodGet, strings.Replace(path, "v1", "v1beta1", 1), "")
	if !strings.Contains(string(beta.Body), `"kind":"ThingList","apiVersion":"example.com/v1beta1"`) || strings.Contains(string(beta.Body), "example.com/v1\"") && !strings.Contains(string(beta.Body), "managedFields") {
		t.Errorf("the other version: %s", beta.Body)
	}
	for path, part := range map[string]string{
		"/apis/example.com/v1":            `"name":"things/scale"`,
		"/apis":                           `"name":"example.com"`,
		"/openapi/v2":                     `"com.example.v1.Thing":{`,
		"/openapi/v3":                     `"apis/example.com/v1":{"serverRelativeURL":"/openapi/v3/apis/example.com/v1?hash=`,
		"/openapi/v3/apis/example.com/v1": `"com.example.v1.Thing":{`,
		"/openapi/v3/apis/apiextensions.k8s.io/v1": "CustomResourceDefinitionSpec",
	} {
		if got := shared.request(t, http.MethodGet, path, ""); !strings.Contains(string(got.Body), part) {
			t.Errorf("%s: no %s in %.300s", path, part, got.Body)
		}
	}
}

func TestDefinitionsChangeAndGo(t *testing.T) {
	c := shared
	gizmos := define(t, c, "Gizmo")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if _, err := gizmos.Namespace("default").Create(ctx, custom("Gizmo", "one", map[string]any{"color": "red", "limit": int64(3)}), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	const name = definitionsURL + "/gizmos.example.com"
	change := `[{"op":"add","path":"/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/weight","value":{"type":"integer","default":7}}]`
	if got := c.request(t, http.MethodPatch, name, change, "Content-Type", "application/json-patch+json"); got.Code != http.StatusOK {
		t.Fatalf("change: %d %s", got.Code, got.Body)
	}
	// The schema is taken up without a request that would miss it.
	c.api.SyncDefinitions(ctx)
	got, err := gizmos.Namespace("default").Get(ctx, "one", metav1.GetOptions{})
	if err != nil || got.Object["spec"].(map[string]any)["weight"] != int64(7) {
		t.Errorf("a new default in an old object: %v, %v", got, err)
	}
	w, err := gizmos.Watch(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	<-w.ResultChan()
	if got := c.request(t, http.MethodDelete, name, ""); !strings.Contains(string(got.Body), "customresourcecleanup.apiextensions.k8s.io") {
		t.Errorf("delete: %d %s", got.Code, got.Body)
	}
	c.api.SyncDefinitions(ctx)
	_, err = gizmos.Namespace("default").Create(ctx, custom("Gizmo", "two", map[string]any{"color": "red"}), metav1.CreateOptions{})
	if err == nil || !strings.Contains(err.Error(), "create not allowed while custom resource definition is terminating") {
		t.Errorf("create of a kind that goes: %v", err)
	}
	if got := c.request(t, http.MethodPatch, name, `{"metadata":{"finalizers":null}}`, "Content-Type", "application/merge-patch+json"); got.Code != http.StatusOK {
		t.Fatalf("finalize: %d %s", got.Code, got.Body)
	}
	c.api.SyncDefinitions(ctx)
	for range w.ResultChan() { // it ends
	}
	if ctx.Err() != nil {
		t.Error("a watch of a kind that is gone goes on")
	}
	if _, err := gizmos.List(t.Context(), metav1.ListOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("list of a kind that is gone: %v", err)
	}
}

func TestDefinitionsSurviveARestart(t *testing.T) {
	dir := t.TempDir()
	first, stop, err := startCluster(dir)
	if err != nil {
		t.Fatal(err)
	}
	made, err := define(t, first, "Gear").Namespace("default").Create(t.Context(), custom("Gear", "one", map[string]any{"color": "red"}), metav1.CreateOptions{})
	stop()
	if err != nil {
		t.Fatal(err)
	}
	second, stop, err := startCluster(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	gears := second.dynamic(t).Resource(schema.GroupVersionResource{Group: "example.com", Version: "v1", Resource: "gears"}).Namespace("default")
	got, err := gears.Get(t.Context(), "one", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(made, got); diff != "" {
		t.Error(diff)
	}
}

func TestBadDefinitions(t *testing.T) {
	for change, text := range map[[2]string]string{
		{`"name":"PLURAL.example.com"`, `"name":"other"`}:                  `metadata.name: Invalid value: "other": must be spec.names.plural+"."+spec.group`,
		{`"scope":"Namespaced"`, `"scope":"Galaxy"`}:                       `spec.scope: Unsupported value: "Galaxy"`,
		{`"rule":"self.replicas <= 10"`, `"rule":"self.nothing <= 1"`}:     "undefined field 'nothing'",
		{`"type":"integer","default":1`, `"type":"integer","default":"x"`}: `spec.versions[0].schema.openAPIV3Schema.properties[spec].properties[replicas].default: Invalid value: "string"`,
	} {
		body := strings.Replace(definition, change[0], change[1], 1)
		body = strings.NewReplacer("PLURAL", "bads", "SINGULAR", "bad", "KIND", "Bad", "SHORT", "ba").Replace(body)
		if got := shared.request(t, http.MethodPost, definitionsURL, body); got.Code != http.StatusUnprocessableEntity || !strings.Contains(strings.ReplaceAll(string(got.Body), `\"`, `"`), text) {
			t.Errorf("%v: %d %s, want %s", change, got.Code, got.Body, text)
		}
	}
}
