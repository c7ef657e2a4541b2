package apiserver_test

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestACreatedObjectHasWhatTheServerSets(t *testing.T) {
	ns := shared.namespace(t)
	maps := shared.typed(t).CoreV1().ConfigMaps(ns)
	in := configMap("a", "k", "v")
	in.UID, in.Generation, in.SelfLink = "mine", 7, "/x"
	in.CreationTimestamp = metav1.Unix(1, 0)
	got := must(maps.Create(t.Context(), in, metav1.CreateOptions{FieldManager: "me"}))(t)
	if got.UID == "mine" || got.UID == "" || got.ResourceVersion == "" || got.Namespace != ns || got.CreationTimestamp.Unix() == 1 ||
		got.Generation != 0 || got.SelfLink != "" || got.Data["k"] != "v" {
		t.Errorf("created %+v", got)
	}
	if m := got.ManagedFields; len(m) != 1 || m[0].Manager != "me" || m[0].Operation != "Update" ||
		string(m[0].FieldsV1.Raw) != `{"f:data":{".":{},"f:k":{}}}` {
		t.Errorf("managed fields: %+v", m)
	}
	again := must(maps.Get(t.Context(), "a", metav1.GetOptions{}))(t)
	if again.ResourceVersion != got.ResourceVersion || again.UID != got.UID {
		t.Errorf("read %+v after creating %+v", again, got)
	}
}

func TestGeneratedNamesAreUnique(t *testing.T) {
	ns := shared.namespace(t)
	maps := shared.typed(t).CoreV1().ConfigMaps(ns)
	long := strings.Repeat("x", 70)
	for _, prefix := range []string{"some-", "some-", long} {
		in := configMap("")
		in.GenerateName = prefix
		got := must(maps.Create(t.Context(), in, metav1.CreateOptions{}))(t)
		if !strings.HasPrefix(got.Name, prefix[:min(len(prefix), 58)]) || len(got.Name) > 63 || got.GenerateName != prefix {
			t.Errorf("generated %q from %q", got.Name, prefix)
		}
	}
	list := must(maps.List(t.Context(), metav1.ListOptions{}))(t)
	if len(list.Items) != 3 {
		t.Errorf("%d objects, want 3", len(list.Items))
	}
}

func TestRefusedCreates(t *testing.T) {
	ns := shared.namespace(t)
	api := shared.typed(t).CoreV1()
	must(api.ConfigMaps(ns).Create(t.Context(), configMap("taken"), metav1.CreateOptions{}))(t)

	_, err := api.ConfigMaps(ns).Create(t.Context(), configMap("taken"), metav1.CreateOptions{})
	wantStatus(t, err, 409, metav1.StatusReasonAlreadyExists, `configmaps "taken" already exists`)

	_, err = api.ConfigMaps("nowhere").Create(t.Context(), configMap("a"), metav1.CreateOptions{})
	wantStatus(t, err, 404, metav1.StatusReasonNotFound, `namespaces "nowhere" not found`)

	other := configMap("a")
	other.Namespace = "default"
	_, err = api.ConfigMaps(ns).Create(t.Context(), other, metav1.CreateOptions{})
	wantStatus(t, err, 400, metav1.StatusReasonBadRequest, "the namespace of the provided object does not match the namespace sent on the request")

	versioned := configMap("a")
	versioned.ResourceVersion = "12"
	_, err = api.ConfigMaps(ns).Create(t.Context(), versioned, metav1.CreateOptions{})
	wantStatus(t, err, 400, metav1.StatusReasonBadRequest, "resourceVersion should not be set on objects to be created")

	_, err = api.ConfigMaps(ns).Create(t.Context(), configMap("Bad_Name"), metav1.CreateOptions{})
	wantStatus(t, err, 422, metav1.StatusReasonInvalid, `ConfigMap "Bad_Name" is invalid: metadata.name: Invalid value: "Bad_Name"`)

	_, err = api.ConfigMaps(ns).Create(t.Context(), configMap(""), metav1.CreateOptions{})
	wantStatus(t, err, 422, metav1.StatusReasonInvalid, "name or generateName is required")

	_, err = api.ConfigMaps(ns).Create(t.Context(), configMap("a"), metav1.CreateOptions{DryRun: []string{"Some"}})
	wantStatus(t, err, 422, metav1.StatusReasonInvalid, `dryRun: Unsupported value: ["Some"]: supported values: "All"`)

	_, err = api.ConfigMaps(ns).Create(t.Context(), configMap("a"), metav1.CreateOptions{FieldManager: strings.Repeat("m", 129)})
	wantStatus(t, err, 422, metav1.StatusReasonInvalid, "fieldManager: Too long")
}

func TestNothingIsCreatedInATerminatingNamespace(t *testing.T) {
	ns := shared.namespace(t)
	api := shared.typed(t).CoreV1()
	if err := api.Namespaces().Delete(t.Context(), ns, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	got := must(api.Namespaces().Get(t.Context(), ns, metav1.GetOptions{}))(t)
	if got.Status.Phase != corev1.NamespaceTerminating || got.DeletionTimestamp == nil {
		t.Fatalf("namespace is %+v", got)
	}
	_, err := api.ConfigMaps(ns).Create(t.Context(), configMap("a"), metav1.CreateOptions{})
	wantStatus(t, err, 403, metav1.StatusReasonForbidden, "because it is being terminated")
	if !apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		t.Errorf("no NamespaceTerminating cause in %v", err)
	}
}

func TestADryRunCreatesNothing(t *testing.T) {
	ns := shared.namespace(t)
	maps := shared.typed(t).CoreV1().ConfigMaps(ns)
	got := must(maps.Create(t.Context(), configMap("a", "k", "v"), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}))(t)
	if got.UID == "" || got.Data["k"] != "v" {
		t.Errorf("dry run answered %+v", got)
	}
	_, err := maps.Get(t.Context(), "a", metav1.GetOptions{})
	wantStatus(t, err, 404, metav1.StatusReasonNotFound, `configmaps "a" not found`)
	_, err = maps.Create(t.Context(), configMap("Bad"), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	wantStatus(t, err, 422, metav1.StatusReasonInvalid, "metadata.name")
}

func TestFieldValidation(t *testing.T) {
	ns := shared.namespace(t)
	path := "/api/v1/namespaces/" + ns + "/configmaps"
	body := func(name string) string {
		return `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"` + name + `"},"dat":{},"data":{"a":"1"},"data":{"a":"2"}}`
	}
	strict := shared.request(t, "POST", path+"?fieldValidation=Strict", body("a"))
	want := `ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: unknown field "dat", duplicate field "data"`
	if s := strict.status(t); s.Code != 400 || s.Message != want {
		t.Errorf("strict: %d %s", s.Code, s.Message)
	}
	for mode, warnings := range map[string]int{"Ignore": 0, "Warn": 2} {
		got := shared.request(t, "POST", path+"?fieldValidation="+mode, body(strings.ToLower(mode)))
		if got.Code != 201 || len(got.Header.Values("Warning")) != warnings {
			t.Errorf("%s: %d %q", mode, got.Code, got.Header.Values("Warning"))
		}
	}
	if got := shared.request(t, "POST", path, body("default")); got.Header.Get("Warning") != `299 - "unknown field \"dat\""` {
		t.Errorf("default: %q", got.Header.Values("Warning"))
	}
	if s := shared.request(t, "POST", path+"?fieldValidation=Maybe", body("x")).status(t); s.Code != 422 {
		t.Errorf("unknown mode: %d %s", s.Code, s.Message)
	}
}
