package revision

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/gantryio/gantry/core/client/owner"
)

var web = map[string]string{"app": "web"}

func template(image string) *corev1.PodTemplateSpec {
	return &corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: web},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "a", Image: image}}},
	}
}

func history(objs ...client.Object) *History {
	set := &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web", UID: "set"}}
	api := fake.NewClientBuilder().WithScheme(scheme.Scheme).WithObjects(append(objs, set)...).
		WithIndex(&appsv1.ControllerRevision{}, owner.ByController, owner.Controllers).
		WithIndex(&appsv1.ControllerRevision{}, owner.ByOrphanhood, owner.Orphanhood).Build()
	return &History{
		Client: api, Live: api, Owner: set, Kind: appsv1.SchemeGroupVersion.WithKind("StatefulSet"),
		Selector: labels.SelectorFromSet(web), HashLabel: "hash",
	}
}

func (h *History) ensure(t *testing.T, image string) *appsv1.ControllerRevision {
	t.Helper()
	known, err := h.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r, _, err := h.Ensure(t.Context(), known, template(image), 0)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestEnsure(t *testing.T) {
	h := history()
	first, again, second := h.ensure(t, "a:1"), h.ensure(t, "a:1"), h.ensure(t, "a:2")
	back := h.ensure(t, "a:1")
	got := []any{first.Name == again.Name, first.Revision, again.Revision, second.Revision, back.Name == first.Name, back.Revision}
	if diff := cmp.Diff([]any{true, int64(1), int64(1), int64(2), true, int64(3)}, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff("web-"+first.Labels["hash"], first.Name); diff != "" {
		t.Error(diff)
	}
	have, err := Template(first.Data.Raw)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(template("a:1"), have); diff != "" {
		t.Error(diff)
	}
}

// A revision of our name that holds something else makes the next name be tried; our own that the cache
// does not show is found.
func TestCollision(t *testing.T) {
	patch, err := Patch(template("a:1"))
	if err != nil {
		t.Fatal(err)
	}
	other := &appsv1.ControllerRevision{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web-" + Hash(patch, 0)},
		Data:       runtime.RawExtension{Raw: []byte(`{"spec":{"template":{}}}`)},
	}
	h := history(other)
	made, collisions, err := h.Ensure(t.Context(), nil, template("a:1"), 0)
	if err != nil {
		t.Fatal(err)
	}
	same, still, err := h.Ensure(t.Context(), nil, template("a:1"), collisions)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]any{"web-" + Hash(patch, 1), int32(1), made.Name, int32(1)}, []any{made.Name, collisions, same.Name, still}); diff != "" {
		t.Error(diff)
	}
}

func TestAdoptsAndTruncates(t *testing.T) {
	orphan := &appsv1.ControllerRevision{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "old", Labels: web},
		Data:       runtime.RawExtension{Raw: []byte(`{"spec":{"template":{}}}`)}, Revision: 1,
	}
	foreign := orphan.DeepCopy()
	foreign.Name, foreign.Labels = "foreign", nil
	h := history(orphan, foreign)
	for i := range 4 {
		h.ensure(t, fmt.Sprint("a:", i))
	}
	known, err := h.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]any{5, "old"}, []any{len(known), known[0].Name}); diff != "" {
		t.Error(diff)
	}
	live := func(r *appsv1.ControllerRevision) bool { return r.Revision == 2 || r.Revision == 5 }
	if err := h.Truncate(t.Context(), known, live, new(int32(1))); err != nil {
		t.Fatal(err)
	}
	known, err = h.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var left []int64
	for _, r := range known {
		left = append(left, r.Revision)
	}
	if diff := cmp.Diff([]int64{2, 4, 5}, left); diff != "" {
		t.Error(diff)
	}
}
