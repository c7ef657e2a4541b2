package client_test

import (
	"context"
	"encoding/json"
	"encoding/pem"
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
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gantryio/gantry/core/apiserver"
)

// serveConversions converts between "address": "a:b" of v1 and "host": "a", "port": "b" of v2, unless fail is set.
func serveConversions(t *testing.T, fail *atomic.Bool, asked *atomic.Int64) *httptest.Server {
	t.Helper()
	web := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		asked.Add(1)
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

func defineHosts(t *testing.T, web *httptest.Server) {
	t.Helper()
	ctx, any := t.Context(), true
	version := func(name string) apiextensionsv1.CustomResourceDefinitionVersion {
		return apiextensionsv1.CustomResourceDefinitionVersion{
			Name: name, Served: true, Storage: name == "v1",
			Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{Type: "object", XPreserveUnknownFields: &any}},
		}
	}
	names := apiextensionsv1.CustomResourceDefinitionNames{Plural: "hosts", Singular: "host", Kind: "Host", ListKind: "HostList"}
	crd := &apiextensionsv1.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: "hosts.convert.example.com"},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: "convert.example.com", Scope: apiextensionsv1.NamespaceScoped, Names: names,
			Versions: []apiextensionsv1.CustomResourceDefinitionVersion{version("v1"), version("v2")},
			Conversion: &apiextensionsv1.CustomResourceConversion{Strategy: apiextensionsv1.WebhookConverter, Webhook: &apiextensionsv1.WebhookConversion{
				ConversionReviewVersions: []string{"v1"},
				ClientConfig: &apiextensionsv1.WebhookClientConfig{
					URL: &web.URL, CABundle: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: web.Certificate().Raw}),
				},
			}},
		},
	}
	do(t, api.Create(ctx, crd))
	crd = crd.DeepCopy()
	crd.Status = apiextensionsv1.CustomResourceDefinitionStatus{AcceptedNames: names, Conditions: []apiextensionsv1.CustomResourceDefinitionCondition{{
		Type: apiextensionsv1.Established, Status: apiextensionsv1.ConditionTrue, Reason: "x", LastTransitionTime: metav1.Now(),
	}}}
	do(t, api.Status().Update(ctx, crd))
	api.Server.(*apiserver.Server).SyncDefinitions(ctx)
}

// TestConversionWebhook: parts of the process read, write and watch another version than is stored as clients over HTTP do.
func TestConversionWebhook(t *testing.T) {
	fail, asked := &atomic.Bool{}, &atomic.Int64{}
	defineHosts(t, serveConversions(t, fail, asked))
	ctx := t.Context()
	group := schema.GroupVersion{Group: "convert.example.com"}
	empty := func(version string) *unstructured.Unstructured {
		u := &unstructured.Unstructured{}
		u.SetGroupVersionKind(schema.GroupVersionKind{Group: group.Group, Version: version, Kind: "Host"})
		return u
	}
	check := func(what string, u *unstructured.Unstructured, version string, spec map[string]any) {
		t.Helper()
		if diff := cmp.Diff(spec, u.Object["spec"]); diff != "" || u.GetAPIVersion() != group.Group+"/"+version {
			t.Errorf("%s: %s, spec (-want +got):\n%s", what, u.GetAPIVersion(), diff)
		}
	}
	one := empty("v2")
	one.SetNamespace("default")
	one.SetName("h")
	_ = unstructured.SetNestedStringMap(one.Object, map[string]string{"host": "a", "port": "1"}, "spec")
	do(t, api.Create(ctx, one))
	check("created", one, "v2", map[string]any{"host": "a", "port": "1"})
	key := client.ObjectKeyFromObject(one)
	stored := empty("v1")
	do(t, api.Get(ctx, key, stored))
	check("stored", stored, "v1", map[string]any{"address": "a:1"})
	got := empty("v2")
	do(t, local.Get(ctx, key, got))
	check("read from the cache", got, "v2", map[string]any{"host": "a", "port": "1"})
	do(t, unstructured.SetNestedField(got.Object, "2", "spec", "port"))
	do(t, api.Update(ctx, got))
	check("updated", got, "v2", map[string]any{"host": "a", "port": "2"})
	do(t, api.Patch(ctx, got, client.RawPatch(types.MergePatchType, []byte(`{"spec":{"port":"3"}}`))))
	check("patched", got, "v2", map[string]any{"host": "a", "port": "3"})
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(schema.GroupVersionKind{Group: group.Group, Version: "v2", Kind: "HostList"})
	do(t, api.List(ctx, list))
	if len(list.Items) != 1 {
		t.Fatalf("listed %d", len(list.Items))
	}
	check("listed", &list.Items[0], "v2", map[string]any{"host": "a", "port": "3"})

	before := asked.Load()
	about := &metav1.PartialObjectMetadata{}
	about.SetGroupVersionKind(one.GroupVersionKind())
	do(t, api.Get(ctx, key, about))
	if about.APIVersion != "convert.example.com/v2" || about.UID != one.GetUID() || asked.Load() != before {
		t.Errorf("metadata is %+v, for which the webhook was asked %d times", about, asked.Load()-before)
	}

	fail.Store(true)
	if err := api.Get(ctx, key, empty("v2")); err == nil || !strings.Contains(err.Error(), "cannot today") {
		t.Errorf("read while the webhook fails: %v", err)
	}
	if err := api.Get(ctx, key, empty("v1")); err != nil {
		t.Errorf("read as it is stored meanwhile: %v", err)
	}
	w, err := api.Watch(ctx, list)
	do(t, err)
	if e := <-w.ResultChan(); e.Type != watch.Error {
		t.Errorf("watched %s while the webhook fails", e.Type)
	}
	w.Stop()
	seen := make(chan any, 10)
	informer, err := local.GetInformer(ctx, empty("v2"))
	do(t, err)
	reg, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{AddFunc: func(o any) { seen <- o }})
	do(t, err)
	defer func() { do(t, informer.RemoveEventHandler(reg)) }()
	fail.Store(false) // for which the informer waits
	bounded, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	select {
	case o := <-seen:
		check("informed", o.(*unstructured.Unstructured), "v2", map[string]any{"host": "a", "port": "3"})
	case <-bounded.Done():
		t.Error("informed of nothing")
	}
	if w, err = api.Watch(ctx, list); err == nil {
		defer w.Stop()
		check("watched", (<-w.ResultChan()).Object.(*unstructured.Unstructured), "v2", map[string]any{"host": "a", "port": "3"})
	}
}
