package apiserver_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	discoveryv2 "k8s.io/api/apidiscovery/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/cbor"
	"k8s.io/apimachinery/pkg/runtime/serializer/cbor/direct"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
)

var concise = cbor.NewSerializer(scheme.Scheme, scheme.Scheme)

func inCBOR(t *testing.T, obj runtime.Object) string {
	t.Helper()
	var out bytes.Buffer
	if err := concise.Encode(obj, &out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// ofCBOR reads an answer as upstream's serializer does.
func ofCBOR[T any, P interface {
	*T
	runtime.Object
}](t *testing.T, a answer,
) P {
	t.Helper()
	out := P(new(T))
	if got := a.Header.Get("Content-Type"); got != "application/cbor" {
		t.Fatalf("%d %s: %s", a.Code, got, a.Body)
	}
	if _, _, err := concise.Decode(a.Body, nil, out); err != nil {
		t.Fatalf("%v in %q", err, a.Body)
	}
	return out
}

func TestCBOR(t *testing.T) {
	ns := shared.namespace(t)
	const kind, accept, form = "Content-Type", "Accept", "application/cbor"
	secrets := "/api/v1/namespaces/" + ns + "/secrets"
	sent := &corev1.Secret{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: metav1.ObjectMeta{Name: "a", Labels: map[string]string{"k": "v"}}, Data: map[string][]byte{"bytes": {0, 0xff, 'x'}},
	}
	made := ofCBOR[corev1.Secret](t, shared.request(t, "POST", secrets, inCBOR(t, sent), kind, form, accept, form))
	plain := must(shared.typed(t).CoreV1().Secrets(ns).Get(t.Context(), "a", metav1.GetOptions{}))(t)
	made.TypeMeta = metav1.TypeMeta{}
	if diff := cmp.Diff(plain, made); diff != "" {
		t.Errorf("as JSON and as CBOR (-JSON +CBOR):\n%s", diff)
	}
	list := ofCBOR[corev1.SecretList](t, shared.request(t, "GET", secrets, "", accept, form))
	if len(list.Items) != 1 || list.ResourceVersion == "" || !bytes.Equal(list.Items[0].Data["bytes"], sent.Data["bytes"]) {
		t.Errorf("list %+v", list)
	}
	table := &metav1.Table{}
	a := shared.request(t, "GET", secrets, "", accept, form+";as=Table;v=v1;g=meta.k8s.io")
	if err := direct.Unmarshal(a.Body, table); err != nil || len(table.Rows) != 1 || table.Rows[0].Cells[0] != "a" {
		t.Errorf("table %+v", table)
	}
	odd := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"name": "b"}, "odd": int64(1)}}
	status := ofCBOR[metav1.Status](t, shared.request(t, "POST", secrets+"?fieldValidation=Strict", inCBOR(t, odd), kind, form, accept, form))
	if status.Code != 400 || !strings.Contains(status.Message, `unknown field "odd"`) {
		t.Errorf("an unknown field: %+v", status)
	}
	if a := shared.request(t, "POST", secrets, "\xd9\xd9\xf7\xff", kind, form); a.Code != 400 {
		t.Errorf("no CBOR: %d %s", a.Code, a.Body)
	}
	applied := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"name": "c"}, "stringData": map[string]any{"k": "v"}}}
	got := ofCBOR[corev1.Secret](t, shared.request(t, "PATCH", secrets+"/c?fieldManager=m", inCBOR(t, applied), kind, "application/apply-patch+cbor", accept, form))
	if string(got.Data["k"]) != "v" || got.ManagedFields[0].Operation != "Apply" {
		t.Errorf("applied %+v", got)
	}
	wrong := "another"
	body, err := direct.Marshal(&metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(wrong)})
	if err != nil {
		t.Fatal(err)
	}
	if a := shared.request(t, "DELETE", secrets+"/c", string(body), kind, form); a.Code != 409 {
		t.Errorf("deleted with a wrong precondition: %d %s", a.Code, a.Body)
	}
	if a := shared.request(t, "GET", secrets, "", accept, "application/cbor-seq"); a.Code != 406 {
		t.Errorf("a list as a sequence: %d", a.Code)
	}
}

// TestCBORWatch reads the events as client-go does.
func TestCBORWatch(t *testing.T) {
	ns := shared.namespace(t)
	maps := shared.typed(t).CoreV1().ConfigMaps(ns)
	for _, name := range []string{"a", "b"} {
		must(maps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}))(t)
	}
	client, err := rest.HTTPClientFor(shared.admin(t))
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, shared.web.URL+"/api/v1/namespaces/"+ns+"/configmaps?watch=1&fieldSelector=metadata.name!=kube-root-ca.crt", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "application/cbor-seq")
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got := resp.Header.Get("Content-Type"); got != "application/cbor-seq" {
		t.Errorf("content type %s", got)
	}
	frames := cbor.NewFramer().NewFrameReader(resp.Body)
	buf := make([]byte, 1<<16)
	for _, want := range []string{"a", "b"} {
		n, err := frames.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		event := &metav1.WatchEvent{}
		if _, _, err := cbor.NewSerializer(scheme.Scheme, scheme.Scheme, cbor.Transcode(false)).Decode(buf[:n], nil, event); err != nil {
			t.Fatal(err)
		}
		obj := &corev1.ConfigMap{}
		if _, _, err := concise.Decode(event.Object.Raw, nil, obj); err != nil || event.Type != "ADDED" || obj.Name != want {
			t.Errorf("event %s of %q, %v; want ADDED of %q", event.Type, obj.Name, err, want)
		}
	}
}

func TestCBORDiscovery(t *testing.T) {
	ofJSON := &metav1.APIResourceList{}
	if err := json.Unmarshal(shared.request(t, "GET", "/apis/apps/v1", "").Body, ofJSON); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(ofJSON, ofCBOR[metav1.APIResourceList](t, shared.request(t, "GET", "/apis/apps/v1", "", "Accept", "application/cbor"))); diff != "" {
		t.Errorf("resources (-JSON +CBOR):\n%s", diff)
	}
	all := &discoveryv2.APIGroupDiscoveryList{}
	a := shared.request(t, "GET", "/apis", "", "Accept", "application/cbor;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList")
	if err := direct.Unmarshal(a.Body, all); err != nil || len(all.Items) == 0 || !strings.HasPrefix(a.Header.Get("Content-Type"), "application/cbor;g=apidiscovery") {
		t.Errorf("groups: %v, %d items, %s", err, len(all.Items), a.Header.Get("Content-Type"))
	}
}
