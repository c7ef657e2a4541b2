package apiserver_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
)

const convertedDefinition = `{"metadata":{"name":"hosts.convert.example.com"},
"spec":{"group":"convert.example.com","scope":"Namespaced","names":{"plural":"hosts","singular":"host","kind":"Host","listKind":"HostList"},
"conversion":{"strategy":"Webhook","webhook":{"conversionReviewVersions":["v1"],"clientConfig":{"url":"URL","caBundle":"CA"}}},
"versions":[
 {"name":"v1","served":true,"storage":true,"schema":{"openAPIV3Schema":{"type":"object","properties":{"spec":{"type":"object","properties":{"address":{"type":"string"}}}}}},"selectableFields":[{"jsonPath":".spec.address"}]},
 {"name":"v2","served":true,"storage":false,"schema":{"openAPIV3Schema":{"type":"object","properties":{"spec":{"type":"object","properties":{"host":{"type":"string"},"port":{"type":"string"}}}}}},"selectableFields":[{"jsonPath":".spec.host"}]}]}}`

// serveConversions converts between "address": "a:b" and "host": "a", "port": "b".
func serveConversions(t *testing.T, fail *atomic.Bool) *httptest.Server {
	t.Helper()
	web := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		var review apiextensionsv1.ConversionReview
		if err := json.NewDecoder(req.Body).Decode(&review); err != nil {
			t.Error(err)
			return
		}
		out := &apiextensionsv1.ConversionResponse{UID: review.Request.UID, Result: metav1.Status{Status: metav1.StatusSuccess}}
		if fail.Load() {
			out.Result = metav1.Status{Status: metav1.StatusFailure, Message: "cannot today"}
		}
		for _, raw := range review.Request.Objects {
			u := &unstructured.Unstructured{}
			if err := u.UnmarshalJSON(raw.Raw); err != nil {
				t.Error(err)
			}
			spec, _, _ := unstructured.NestedStringMap(u.Object, "spec")
			if strings.HasSuffix(review.Request.DesiredAPIVersion, "/v2") {
				host, port, _ := strings.Cut(spec["address"], ":")
				spec = map[string]string{"host": host, "port": port}
			} else {
				spec = map[string]string{"address": spec["host"] + ":" + spec["port"]}
			}
			_ = unstructured.SetNestedStringMap(u.Object, spec, "spec")
			u.SetAPIVersion(review.Request.DesiredAPIVersion)
			out.ConvertedObjects = append(out.ConvertedObjects, runtime.RawExtension{Object: u})
		}
		_ = json.NewEncoder(w).Encode(apiextensionsv1.ConversionReview{TypeMeta: review.TypeMeta, Response: out})
	}))
	t.Cleanup(web.Close)
	return web
}

func TestConversionWebhook(t *testing.T) {
	c, ns, ctx := shared, shared.namespace(t), t.Context()
	fail := &atomic.Bool{}
	web := serveConversions(t, fail)
	body := strings.NewReplacer("URL", web.URL, "CA", base64.StdEncoding.EncodeToString(caOf(web))).Replace(convertedDefinition)
	if got := c.request(t, http.MethodPost, definitionsURL, body); got.Code != http.StatusCreated {
		t.Fatal(string(got.Body))
	}
	merge := []string{"Content-Type", string(types.MergePatchType)}
	path := definitionsURL + "/hosts.convert.example.com"
	established := `{"status":{"conditions":[{"type":"Established","status":"True","reason":"x","lastTransitionTime":"2026-01-01T00:00:00Z"}],"acceptedNames":{"plural":"hosts","kind":"Host","listKind":"HostList"}}}`
	if got := c.request(t, http.MethodPatch, path+"/status", established, merge...); got.Code != http.StatusOK {
		t.Fatal(string(got.Body))
	}
	in := func(version string) schema.GroupVersionResource {
		return schema.GroupVersionResource{Group: "convert.example.com", Version: version, Resource: "hosts"}
	}
	v1, v2 := c.dynamic(t).Resource(in("v1")).Namespace(ns), c.dynamic(t).Resource(in("v2")).Namespace(ns)
	wantSpec := func(what string, u *unstructured.Unstructured, version string, spec map[string]any) {
		t.Helper()
		if diff := cmp.Diff(spec, u.Object["spec"]); diff != "" || u.GetAPIVersion() != "convert.example.com/"+version {
			t.Errorf("%s: %s, spec (-want +got):\n%s", what, u.GetAPIVersion(), diff)
		}
	}
	obj := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "convert.example.com/v2", "kind": "Host", "metadata": map[string]any{"name": "h"}, "spec": map[string]any{"host": "a", "port": "1"},
	}}
	wantSpec("created", must(v2.Create(ctx, obj, metav1.CreateOptions{}))(t), "v2", map[string]any{"host": "a", "port": "1"})
	wantSpec("read", must(v1.Get(ctx, "h", metav1.GetOptions{}))(t), "v1", map[string]any{"address": "a:1"})
	w := must(v2.Watch(ctx, metav1.ListOptions{}))(t)
	defer w.Stop()
	if got, ok := (<-w.ResultChan()).Object.(*unstructured.Unstructured); ok {
		wantSpec("watched", got, "v2", map[string]any{"host": "a", "port": "1"})
	}
	got := must(v2.Patch(ctx, "h", types.MergePatchType, []byte(`{"spec":{"port":"2"}}`), metav1.PatchOptions{}))(t)
	wantSpec("patched", got, "v2", map[string]any{"host": "a", "port": "2"})
	applied := obj.DeepCopy()
	_ = unstructured.SetNestedField(applied.Object, "3", "spec", "port")
	got = must(v2.Apply(ctx, "h", applied, metav1.ApplyOptions{FieldManager: "m", Force: true}))(t)
	wantSpec("applied", got, "v2", map[string]any{"host": "a", "port": "3"})
	for _, f := range got.GetManagedFields() {
		if f.Manager == "m" && !strings.Contains(fmt.Sprint(f.FieldsV1), "f:port") {
			t.Errorf("owned by m: %v", f.FieldsV1)
		}
	}
	checkSelection(t, v1, v2)
	fail.Store(true)
	_, err := v2.List(ctx, metav1.ListOptions{})
	wantStatus(t, err, 500, metav1.StatusReasonInternalError, "conversion webhook for convert.example.com/v1, Kind=Host failed: cannot today")
	fail.Store(false)
	// New objects are stored in v2 from now on, and the old one must be understood in both.
	storage := `[{"op":"replace","path":"/spec/versions/0/storage","value":false},{"op":"replace","path":"/spec/versions/1/storage","value":true}]`
	if got := c.request(t, http.MethodPatch, path, storage, "Content-Type", string(types.JSONPatchType)); got.Code != http.StatusOK {
		t.Fatal(string(got.Body))
	}
	c.api.SyncDefinitions(ctx)
	wantSpec("of a former version", must(v2.Get(ctx, "h", metav1.GetOptions{}))(t), "v2", map[string]any{"host": "a", "port": "3"})
	wantSpec("of a former version", must(v1.Get(ctx, "h", metav1.GetOptions{}))(t), "v1", map[string]any{"address": "a:3"})
	before := must(v1.Get(ctx, "h", metav1.GetOptions{}))(t)
	after := must(v1.Update(ctx, before, metav1.UpdateOptions{}))(t)
	if after.GetResourceVersion() == before.GetResourceVersion() {
		t.Error("an update that changes nothing did not store it anew in the new version")
	}
	kv, ok, err := c.store.Get(ctx, "/registry/convert.example.com/hosts/"+ns+"/h")
	if err != nil || !ok || !strings.Contains(string(kv.Value), `"apiVersion":"convert.example.com/v2"`) {
		t.Errorf("stored %s %v", kv.Value, err)
	}
}

// checkSelection selects by fields of the version that is spoken: objects begin and cease to match by what conversion makes of them.
func checkSelection(t *testing.T, v1, v2 dynamic.ResourceInterface) {
	t.Helper()
	ctx := t.Context()
	for _, tc := range []struct {
		of       dynamic.ResourceInterface
		selector string
		want     int
	}{
		{v1, "spec.address=a:3", 1},
		{v1, "spec.address!=a:3", 0},
		{v2, "spec.host=a", 1},
		{v2, "spec.host=a:3", 0},
		{v2, "spec.host=a,metadata.name=h", 1},
		{v2, "spec.host=a,metadata.name=other", 0},
	} {
		if got := must(tc.of.List(ctx, metav1.ListOptions{FieldSelector: tc.selector}))(t); len(got.Items) != tc.want {
			t.Errorf("%s selects %d, want %d", tc.selector, len(got.Items), tc.want)
		}
	}
	_, err := v2.List(ctx, metav1.ListOptions{FieldSelector: "spec.address=a:3"})
	wantStatus(t, err, 400, metav1.StatusReasonBadRequest, "field label not supported: spec.address")
	w := must(v2.Watch(ctx, metav1.ListOptions{FieldSelector: "spec.host=a"}))(t)
	defer w.Stop()
	for _, step := range []struct {
		patch string
		want  watch.EventType
	}{{"", watch.Added}, {`{"spec":{"host":"b"}}`, watch.Deleted}, {`{"spec":{"host":"a"}}`, watch.Added}} {
		if step.patch != "" {
			must(v2.Patch(ctx, "h", types.MergePatchType, []byte(step.patch), metav1.PatchOptions{}))(t)
		}
		select {
		case got := <-w.ResultChan():
			u, ok := got.Object.(*unstructured.Unstructured)
			if !ok || got.Type != step.want || u.GetAPIVersion() != "convert.example.com/v2" {
				t.Errorf("after %q: %s %v, want %s", step.patch, got.Type, got.Object, step.want)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("after %q: no event", step.patch)
		}
	}
}
