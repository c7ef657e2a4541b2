package apiserver

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/api/core"
)

// The quick way must write the very bytes that the library writes.
func TestOwnAllIsWhatTheLibrarySays(t *testing.T) {
	registry := api.NewRegistry(core.ConfigMaps.Resource(), core.Secrets.Resource())
	var m managers
	m.init(registry)
	r := rand.New(rand.NewPCG(1, 2))
	quick := 0
	for i := range 2000 {
		res := registry.All()[i%2]
		obj := randomObject(r, i%2 == 1)
		res.SetType(obj)
		if res.Default != nil {
			res.Default(obj)
		}
		want := obj.DeepCopyObject().(api.Object)
		manager, err := m.of(res, "")
		if err != nil {
			t.Fatal(err)
		}
		live := res.New()
		res.SetType(live)
		manager.UpdateNoErrors(live, want, "tester")
		if !ownAll(res, obj, "tester", time.Now()) {
			continue
		}
		quick++
		untimed(obj)
		untimed(want)
		if d := cmp.Diff(want, obj); d != "" {
			t.Fatalf("object %d: %s", i, d)
		}
	}
	if quick < 1000 {
		t.Errorf("only %d of 2000 objects took the quick way", quick)
	}
}

// untimed drops the time, which differs, and checks that there is one.
func untimed(obj api.Object) {
	list := obj.GetManagedFields()
	for i := range list {
		if !list[i].Time.IsZero() {
			list[i].Time = nil
		}
	}
	if len(list) == 0 {
		obj.SetManagedFields(nil)
	}
}

func randomObject(r *rand.Rand, secret bool) api.Object {
	meta := metav1.ObjectMeta{
		Name: "a", Namespace: "b", UID: "u", CreationTimestamp: metav1.Now(),
		Labels: randomMap(r, 3), Annotations: randomMap(r, 3),
	}
	if r.IntN(3) == 0 {
		meta.GenerateName = "a-"
	}
	if r.IntN(10) == 0 {
		meta.Finalizers = []string{"example.org/f"}
	}
	if r.IntN(10) == 0 {
		meta.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: "p", UID: "x"}}
	}
	var immutable *bool
	if r.IntN(3) == 0 {
		immutable = new(r.IntN(2) == 0)
	}
	binary := map[string][]byte{}
	for k, v := range randomMap(r, 4) {
		binary[k] = []byte(v)
	}
	if secret {
		out := &corev1.Secret{ObjectMeta: meta, Data: binary, Immutable: immutable}
		if r.IntN(2) == 0 {
			out.Type = corev1.SecretTypeOpaque
		}
		return out
	}
	out := &corev1.ConfigMap{ObjectMeta: meta, Data: randomMap(r, 5), Immutable: immutable}
	if r.IntN(2) == 0 {
		out.BinaryData = binary
	}
	return out
}

func randomMap(r *rand.Rand, most int) map[string]string {
	const letters = "abzABZ019-._/"
	n := r.IntN(most + 1)
	if n == 0 && r.IntN(2) == 0 {
		return nil
	}
	out := map[string]string{}
	for range n {
		key := ""
		for range 1 + r.IntN(6) {
			key += string(letters[r.IntN(len(letters))])
		}
		if r.IntN(40) == 0 {
			key += `"<é\`
		}
		out[key] = fmt.Sprint(r.IntN(3))
	}
	return out
}
