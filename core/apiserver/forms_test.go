package apiserver_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"
)

const (
	asTable = "application/json;as=Table;v=v1;g=meta.k8s.io"
	asMeta  = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
	asMetas = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
)

func TestProtobufBothWays(t *testing.T) {
	ns := shared.namespace(t)
	config := shared.admin(t)
	config.ContentType, config.AcceptContentTypes = "application/vnd.kubernetes.protobuf", "application/vnd.kubernetes.protobuf"
	client := must(kubernetes.NewForConfig(config))(t).CoreV1().ConfigMaps(ns)
	w := must(client.Watch(t.Context(), metav1.ListOptions{}))(t)
	defer w.Stop()
	made := must(client.Create(t.Context(), configMap("a", "k", "v"), metav1.CreateOptions{}))(t)
	if got := must(client.Get(t.Context(), "a", metav1.GetOptions{}))(t); got.Data["k"] != "v" || got.UID != made.UID {
		t.Errorf("got %+v", got)
	}
	if got := must(client.List(t.Context(), metav1.ListOptions{}))(t); len(got.Items) != 1 || got.Items[0].Data["k"] != "v" || got.ResourceVersion == "" {
		t.Errorf("listed %+v", got)
	}
	if got := next(t, w, 1); got[0] != "ADDED a v" {
		t.Errorf("watched %q", got)
	}
	_, err := client.Get(t.Context(), "none", metav1.GetOptions{})
	wantStatus(t, err, 404, metav1.StatusReasonNotFound, `configmaps "none" not found`)
	if err := client.Delete(t.Context(), "a", metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &made.UID}}); err != nil {
		t.Error(err)
	}
}

func TestYAMLBothWays(t *testing.T) {
	ns := shared.namespace(t)
	path := "/api/v1/namespaces/" + ns + "/configmaps"
	made := shared.request(t, "POST", path, "metadata:\n  name: a\ndata:\n  k: v\n", "Content-Type", "application/yaml", "Accept", "application/yaml")
	var cm corev1.ConfigMap
	if err := yaml.Unmarshal(made.Body, &cm); err != nil || made.Code != 201 || cm.Data["k"] != "v" || made.Header.Get("Content-Type") != "application/yaml" || made.Body[0] == '{' {
		t.Errorf("%d %v %s", made.Code, err, made.Body)
	}
	twice := shared.request(t, "POST", path+"?fieldValidation=Strict", "metadata: {name: b}\ndata: {k: v, k: w}\n", "Content-Type", "application/yaml").status(t)
	if twice.Code != 400 || !strings.Contains(twice.Message, `key "k" already set in map`) {
		t.Errorf("a key twice: %d %s", twice.Code, twice.Message)
	}
	if got := shared.request(t, "GET", path+"/a?pretty=true", ""); !bytes.Contains(got.Body, []byte("\n  \"metadata\": {\n")) {
		t.Errorf("pretty: %s", got.Body)
	}
}

func TestTables(t *testing.T) {
	ns := fillNamespace(t, 2)
	path := "/api/v1/namespaces/" + ns + "/configmaps"
	for _, c := range []struct{ path, object string }{
		{path, "PartialObjectMetadata"}, {path + "?includeObject=Object", "ConfigMap"}, {path + "?includeObject=None", ""},
	} {
		var table metav1.Table
		got := shared.request(t, "GET", c.path, "", "Accept", asTable)
		if err := json.Unmarshal(got.Body, &table); err != nil || table.Kind != "Table" || len(table.Rows) != 2 || table.ResourceVersion == "" {
			t.Fatalf("%v %s", err, got.Body)
		}
		if table.ColumnDefinitions[0].Name != "Name" || table.ColumnDefinitions[0].Format != "name" || table.Rows[1].Cells[0] != "m01" || table.Rows[1].Cells[1] != float64(1) {
			t.Errorf("columns %+v, row %+v", table.ColumnDefinitions, table.Rows[1])
		}
		kind := ""
		if raw := table.Rows[0].Object.Raw; raw != nil {
			var typed metav1.TypeMeta
			_ = json.Unmarshal(raw, &typed)
			kind = typed.Kind
		}
		if kind != c.object {
			t.Errorf("%s: rows hold %q, want %q", c.path, kind, c.object)
		}
	}
	if got := shared.request(t, "GET", path+"/m00", "", "Accept", asTable+",application/json"); !bytes.Contains(got.Body, []byte(`"kind":"Table"`)) {
		t.Errorf("one object: %s", got.Body)
	}
	if s := shared.request(t, "GET", path+"?includeObject=Some", "", "Accept", asTable).status(t); s.Code != 400 || s.Message != `unrecognized includeObject value: "Some"` {
		t.Errorf("bad includeObject: %d %s", s.Code, s.Message)
	}
}

func TestATableIsWatched(t *testing.T) {
	ns := fillNamespace(t, 2)
	client := must(rest.HTTPClientFor(shared.admin(t)))(t)
	req := must(http.NewRequestWithContext(t.Context(), "GET", shared.web.URL+"/api/v1/namespaces/"+ns+"/configmaps?watch=1", nil))(t)
	req.Header.Set("Accept", asTable)
	resp := must(client.Do(req))(t)
	defer resp.Body.Close()
	dec := json.NewDecoder(resp.Body)
	for i := range 2 {
		var ev struct {
			Type   string
			Object metav1.Table
		}
		if err := dec.Decode(&ev); err != nil || ev.Type != "ADDED" || len(ev.Object.Rows) != 1 || (len(ev.Object.ColumnDefinitions) > 0) != (i == 0) {
			t.Errorf("event %d: %v %+v", i, err, ev)
		}
	}
}

func TestMetadataAlone(t *testing.T) {
	ns := fillNamespace(t, 2)
	client := must(metadata.NewForConfig(shared.admin(t)))(t).Resource(schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}).Namespace(ns)
	if got := must(client.Get(t.Context(), "m00", metav1.GetOptions{}))(t); got.Labels["half"] != "0" {
		t.Errorf("got %+v", got)
	}
	list := must(client.List(t.Context(), metav1.ListOptions{LabelSelector: "half=1"}))(t)
	if len(list.Items) != 1 || list.Items[0].Name != "m01" || list.ResourceVersion == "" {
		t.Errorf("listed %+v", list)
	}
	w := must(client.Watch(t.Context(), metav1.ListOptions{}))(t)
	defer w.Stop()
	if ev := <-w.ResultChan(); ev.Object.(*metav1.PartialObjectMetadata).Name != "m00" {
		t.Errorf("watched %+v", ev)
	}
	for accept, kind := range map[string]string{asMeta: "PartialObjectMetadata", asMetas: "PartialObjectMetadataList"} {
		path := "/api/v1/namespaces/" + ns + "/configmaps"
		if kind == "PartialObjectMetadata" {
			path += "/m00"
		}
		if got := shared.request(t, "GET", path, "", "Accept", accept); !bytes.Contains(got.Body, []byte(`"kind":"`+kind+`"`)) || bytes.Contains(got.Body, []byte(`"data"`)) {
			t.Errorf("%s: %s", kind, got.Body)
		}
	}
}

func TestADynamicClient(t *testing.T) {
	ns := shared.namespace(t)
	client := shared.dynamic(t).Resource(schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}).Namespace(ns)
	data := must(json.Marshal(deployment("d", 2)))(t)
	in := &unstructured.Unstructured{}
	if err := json.Unmarshal(data, &in.Object); err != nil {
		t.Fatal(err)
	}
	in.SetAPIVersion("apps/v1")
	in.SetKind("Deployment")
	must(client.Create(t.Context(), in, metav1.CreateOptions{}))(t)
	got := must(client.Get(t.Context(), "d", metav1.GetOptions{}))(t)
	if n, _, _ := unstructured.NestedInt64(got.Object, "spec", "replicas"); n != 2 || got.GetKind() != "Deployment" {
		t.Errorf("got %+v", got.Object)
	}
	list := must(client.List(t.Context(), metav1.ListOptions{}))(t)
	if len(list.Items) != 1 || list.GetKind() != "DeploymentList" || list.Items[0].GetAPIVersion() != "apps/v1" {
		t.Errorf("listed %+v", list)
	}
}

func TestDiscovery(t *testing.T) {
	for name, legacy := range map[string]bool{"aggregated": false, "plain": true} {
		client := must(discovery.NewDiscoveryClientForConfig(shared.admin(t)))(t)
		client.UseLegacyDiscovery = legacy
		_, lists, err := client.ServerGroupsAndResources()
		if err != nil {
			t.Fatal(err)
		}
		found := map[string]metav1.APIResource{}
		for _, list := range lists {
			for _, r := range list.APIResources {
				found[list.GroupVersion+" "+r.Name] = r
			}
		}
		pods, scale := found["v1 pods"], found["apps/v1 deployments/scale"]
		if pods.Kind != "Pod" || !pods.Namespaced || len(pods.Verbs) != 8 || pods.ShortNames[0] != "po" || pods.SingularName != "pod" || pods.Categories[0] != "all" {
			t.Errorf("%s: pods are %+v", name, pods)
		}
		if scale.Kind != "Scale" || scale.Group != "autoscaling" || scale.Version != "v1" {
			t.Errorf("%s: scale is %+v", name, scale)
		}
		for _, want := range []string{"v1 pods/log", "v1 pods/eviction", "v1 pods/binding", "v1 namespaces/finalize", "v1 nodes/status", "coordination.k8s.io/v1 leases"} {
			if _, ok := found[want]; !ok {
				t.Errorf("%s: no %s", name, want)
			}
		}
	}
	first := shared.request(t, "GET", "/apis", "", "Accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList")
	again := shared.request(t, "GET", "/apis", "", "Accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList", "If-None-Match", first.Header.Get("ETag"))
	if first.Code != 200 || again.Code != 304 || len(again.Body) != 0 {
		t.Errorf("with an ETag: %d, then %d", first.Code, again.Code)
	}
}

func TestOpenAPIIsServed(t *testing.T) {
	client := must(discovery.NewDiscoveryClientForConfig(shared.admin(t)))(t)
	paths := must(client.OpenAPIV3().Paths())(t)
	if paths["api/v1"] == nil || paths["apis/apps/v1"] == nil {
		t.Errorf("paths: %v", paths)
	}
	if resp := must(client.RESTClient().Get().AbsPath("/openapi/v2").Stream(t.Context()))(t); resp != nil {
		if n, err := io.Copy(io.Discard, resp); err != nil || n == 0 {
			t.Errorf("v2: %d bytes, %v", n, err)
		}
		resp.Close()
	}
}
