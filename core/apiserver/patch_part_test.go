package apiserver

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/api/all"
	"github.com/gantryio/gantry/core/api/fastjson"
)

// What a patch makes of the fields that it names and a copy of the others must be what it makes of the whole object, for every kind.
func TestAPatchOfAPartIsThatOfTheWhole(t *testing.T) {
	s := &Server{Registry: all.Kinds()}
	s.managed.init(s.Registry)
	parts, wholes := 0, 0
	for i, r := range s.Registry.All() {
		if r.Stored() != r || r.Question || r.Custom() {
			continue
		}
		t.Run(r.GroupResource().String(), func(t *testing.T) {
			c := &applyChain{chain: chain{t: t, server: s, resource: r, random: rand.New(rand.NewSource(int64(i)))}}
			c.filler = filler(c.random)
			for step := range 30 {
				random := c.stored(c.next(nil))
				text, err := fastjson.Append(nil, random)
				if err != nil {
					continue // it has something that is no JSON
				}
				current := r.New() // without what nobody can send: a null in the place of a value is no value
				if err := json.Unmarshal(text, current); err != nil {
					t.Fatal(err)
				}
				given := map[string]any{}
				c.mix(given, c.asGiven(c.next(nil)), 30)
				if c.random.Intn(3) == 0 {
					c.spoil(given)
				}
				if names := slices.Sorted(maps.Keys(given)); len(names) > 1 {
					maps.DeleteFunc(given, func(name string, _ any) bool { return name != names[step%len(names)] })
				}
				data, err := json.Marshal(given)
				if err != nil {
					t.Fatal(err)
				}
				kind := types.StrategicMergePatchType
				if c.random.Intn(2) == 0 {
					kind = types.MergePatchType
				}
				p := &api.Patch{Type: kind, Data: data, Validation: api.ValidationStrict}
				before := current.DeepCopyObject()
				got, ok := patchPart(p, r, current, nil)
				if d := cmp.Diff(before, current.DeepCopyObject()); d != "" {
					t.Fatalf("the current object was changed: %s", d)
				}
				want, err := patchWhole(p, r, current, nil)
				if wholes++; !ok {
					continue
				}
				if parts++; err != nil {
					t.Fatalf("%s %s was taken, but is wrong: %v", kind, data, err)
				}
				if d := cmp.Diff(encoded(t, want), encoded(t, got)); d != "" {
					t.Fatalf("%s %s (-want +got):\n%s", kind, data, d)
				}
			}
		})
	}
	t.Logf("%d of %d patches were of a part", parts, wholes)
	if parts < wholes/2 {
		t.Errorf("only %d of %d patches were of a part", parts, wholes)
	}
}

func encoded(t *testing.T, obj api.Object) string {
	text, err := fastjson.Append(nil, obj)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestPatchesOfTheWhole(t *testing.T) {
	r := all.Kinds().Resource(corev1.SchemeGroupVersion.WithResource("pods"))
	for _, data := range []string{`{"$patch":"replace","spec":{}}`, `{"$retainKeys":["spec"],"spec":{}}`, `[]`, `{"spec":7}`, `{"status":{"phase":{}}}`} {
		if _, ok := patchPart(&api.Patch{Type: types.StrategicMergePatchType, Data: []byte(data)}, r, benchPod(), nil); ok {
			t.Errorf("%s was taken", data)
		}
	}
	var warned []string
	_, ok := patchPart(&api.Patch{Type: types.MergePatchType, Data: []byte(`{"spce":{}}`), Validation: api.ValidationWarn}, r, benchPod(), func(text string) { warned = append(warned, text) })
	if want := []string{`unknown field "spce"`}; !ok || !slices.Equal(warned, want) {
		t.Errorf("warned of %q, want %q", warned, want)
	}
}

func BenchmarkPatchOfAStatus(b *testing.B) {
	r := all.Kinds().Resource(corev1.SchemeGroupVersion.WithResource("pods"))
	current := benchPod()
	running := *current
	runningStatus(&running)
	status, err := json.Marshal(running.Status)
	if err != nil {
		b.Fatal(err)
	}
	p := &api.Patch{Type: types.StrategicMergePatchType, Data: fmt.Appendf(nil, `{"status":%s}`, status)}
	b.Run("part", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, ok := patchPart(p, r, current, nil); !ok {
				b.Fatal("it was not taken")
			}
		}
	})
	b.Run("whole", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := patchWhole(p, r, current, nil); err != nil {
				b.Fatal(err)
			}
		}
	})
}
