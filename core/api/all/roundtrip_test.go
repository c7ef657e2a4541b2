package all

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/cbor/direct"
	"sigs.k8s.io/yaml"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/api/fastjson"
)

// examples is where k8s.io/api keeps an object of each of its kinds, with all fields set, in all formats.
func examples(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "k8s.io/api").Output()
	if err != nil {
		t.Fatalf("find k8s.io/api: %v", err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), "testdata", "HEAD")
}

// example reads one of these files; nil where there is none.
func example(t *testing.T, dir, group, version, kind, format string) []byte {
	t.Helper()
	if group == "" {
		group = "core"
	}
	data, err := os.ReadFile(filepath.Join(dir, group+"."+version+"."+kind+"."+format))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return data
}

func decoded(t *testing.T, data []byte) any {
	t.Helper()
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// same fails the test when two objects differ, which are compared as deeply as Go can.
func same(t *testing.T, what string, want, got any) {
	t.Helper()
	if !reflect.DeepEqual(want, got) {
		t.Errorf("%s (-want +got):\n%s", what, cmp.Diff(want, got))
	}
}

// TestRoundTrips takes k8s.io/api's own example of each kind through all formats: what is read from one is what is read from the
// others, and what is written is what Kubernetes writes.
func TestRoundTrips(t *testing.T) {
	dir := examples(t)
	tested := 0
	for _, r := range Kinds().All() {
		pretty := example(t, dir, r.Group, r.Version, r.Kind, "json")
		if pretty == nil {
			continue // no kind of that module
		}
		var compact bytes.Buffer // raw parts are kept as they are, and the other formats have no spaces in them
		if err := json.Compact(&compact, pretty); err != nil {
			t.Fatal(err)
		}
		text := compact.Bytes()
		tested++
		t.Run(r.GroupVersionKind().String(), func(t *testing.T) { roundTrip(t, dir, r, text) })
	}
	if tested < 67 {
		t.Errorf("only %d kinds have examples", tested)
	}
}

func roundTrip(t *testing.T, dir string, r *api.Resource, text []byte) {
	obj := r.New()
	if err := json.Unmarshal(text, obj); err != nil {
		t.Fatal(err)
	}
	quick := r.New()
	if !fastjson.Unmarshal(text, quick) {
		quick = obj // it leaves unusual things to the library
	}
	same(t, "read from JSON in one pass", obj, quick)
	written, err := fastjson.Append(nil, obj)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "written as JSON", decoded(t, text), decoded(t, written))

	fromYAML := r.New()
	if err := yaml.UnmarshalStrict(example(t, dir, r.Group, r.Version, r.Kind, "yaml"), fromYAML); err != nil {
		t.Fatal(err)
	}
	same(t, "read from YAML", obj, fromYAML)

	message := example(t, dir, r.Group, r.Version, r.Kind, "pb")
	raw, err := api.MarshalProtobuf(obj)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(r.Envelope(raw), message) {
		t.Errorf("written as protobuf: %d bytes, want the %d of the example", len(raw), len(message))
	}
	fromMessage := r.New()
	if err := api.UnmarshalProtobuf(raw, fromMessage); err != nil {
		t.Fatal(err)
	}
	r.SetType(fromMessage)
	same(t, "read from protobuf", obj, fromMessage)

	throughCBOR(t, r, obj, text)
	if r.Stored() == r && !r.Question && !r.Computed {
		throughStore(t, r, obj, text, message)
	}
}

func throughCBOR(t *testing.T, r *api.Resource, obj api.Object, text []byte) {
	t.Helper()
	data, err := direct.Marshal(obj)
	if err != nil {
		t.Fatal(err)
	}
	typed := r.New()
	if err := direct.Unmarshal(data, typed); err != nil {
		t.Fatal(err)
	}
	got, err := fastjson.Append(nil, typed)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "read from CBOR", decoded(t, text), decoded(t, got))
	var loose any
	if err := direct.Unmarshal(data, &loose); err != nil {
		t.Fatal(err)
	}
	if got, err = json.Marshal(loose); err != nil {
		t.Fatal(err)
	}
	same(t, "CBOR as JSON", decoded(t, text), decoded(t, got))
}

// throughStore compares what is read from the store, which is defaulted. The revision is the store's own.
func throughStore(t *testing.T, r *api.Resource, obj api.Object, text, message []byte) {
	t.Helper()
	want := obj.DeepCopyObject().(api.Object)
	if r.Default != nil {
		r.Default(want)
	}
	for what, data := range map[string][]byte{"protobuf": message, "JSON": text} {
		got, former, err := r.DecodeStored(data)
		if err != nil {
			t.Fatal(err)
		}
		same(t, "read from the store, in "+what, want, got)
		if former != (what == "JSON") {
			t.Errorf("stored as %s: former %v", what, former)
		}
	}
	stored, err := r.EncodeStored(want)
	if err != nil {
		t.Fatal(err)
	}
	back, _, err := r.DecodeStored(stored)
	if err != nil {
		t.Fatal(err)
	}
	back.SetResourceVersion(want.GetResourceVersion())
	same(t, "through the store", want, back)
}

// means has the versions whose bytes are the same and mean something else.
var means = map[string]bool{
	"policy/v1beta1 PodDisruptionBudget": true, // there an empty selector selects nothing
}

func declares(r *api.Resource, version string) bool {
	return slices.Contains(r.Earlier, r.Group+"/"+version)
}

// TestEarlierVersions proves what kinds say of their earlier versions: the bytes of these, read as the present one, are the same objects. It also
// finds versions of which that could be said.
func TestEarlierVersions(t *testing.T) {
	dir := examples(t)
	body := func(data []byte) []byte {
		t.Helper()
		var u runtime.Unknown
		if err := u.Unmarshal(bytes.TrimPrefix(data, api.ProtobufPrefix)); err != nil {
			t.Fatal(err)
		}
		return u.Raw
	}
	as := func(r *api.Resource, data []byte) api.Object {
		t.Helper()
		obj := r.New()
		if err := api.UnmarshalProtobuf(body(data), obj); err != nil {
			t.Fatal(err)
		}
		return obj
	}
	for _, r := range Kinds().Stored() {
		now := example(t, dir, r.Group, r.Version, r.Kind, "pb")
		if now == nil {
			continue
		}
		equal := map[string]bool{}
		for _, version := range []string{"v1beta1", "v1beta2", "v1beta3", "v1alpha1", "v1alpha2", "v1alpha3"} {
			if then := example(t, dir, r.Group, version, r.Kind, "pb"); then != nil {
				equal[r.Group+"/"+version] = bytes.Equal(body(now), body(then))
				if declares(r, version) {
					same(t, r.Kind+" of "+version, as(r, now), as(r, then))
				}
			}
		}
		for version, is := range equal {
			if is && !slices.Contains(r.Earlier, version) && !means[version+" "+r.Kind] {
				t.Errorf("%s: %s is the same form, and could be read", r.Kind, version)
			}
		}
	}
}
