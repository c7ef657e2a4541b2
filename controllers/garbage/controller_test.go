package garbage

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
)

var (
	maps = corev1.SchemeGroupVersion.WithKind("ConfigMap")
	node = corev1.SchemeGroupVersion.WithKind("Node")
)

// object is a ConfigMap, whose UID is its name, owned by others; "!" before a name means that it blocks.
func object(name string, owners ...string) *corev1.ConfigMap {
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: types.UID(name)}}
	for _, o := range owners {
		ref := metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: o, UID: types.UID(o)}
		if o[0] == '!' {
			ref.Name, ref.UID, ref.BlockOwnerDeletion = o[1:], types.UID(o[1:]), new(true)
		}
		cm.OwnerReferences = append(cm.OwnerReferences, ref)
	}
	return cm
}

func setup(objs ...client.Object) *Controller {
	mapper := meta.NewDefaultRESTMapper(nil)
	mapper.Add(maps, meta.RESTScopeNamespace)
	mapper.Add(node, meta.RESTScopeRoot)
	b := fake.NewClientBuilder().WithScheme(scheme.Scheme).WithRESTMapper(mapper).WithObjects(objs...)
	for _, gvk := range []schema.GroupVersionKind{maps, node} {
		b = b.WithIndex(metadata(gvk), byOwner, owners)
	}
	api := b.Build()
	return &Controller{Client: api, Recorder: record.NewFakeRecorder(100), Kinds: []schema.GroupVersionKind{maps, node}, cached: api}
}

// settle reconciles all ConfigMaps until nothing changes any longer, and returns those left with their
// owners.
func settle(t *testing.T, c *Controller) map[string][]string {
	t.Helper()
	for range 10 {
		var list corev1.ConfigMapList
		if err := c.Client.List(t.Context(), &list); err != nil {
			t.Fatal(err)
		}
		for i := range list.Items {
			it := item{maps, client.ObjectKeyFromObject(&list.Items[i]), list.Items[i].UID}
			if _, err := c.Reconcile(t.Context(), it); err != nil {
				t.Fatal(err)
			}
		}
	}
	var list corev1.ConfigMapList
	if err := c.Client.List(t.Context(), &list); err != nil {
		t.Fatal(err)
	}
	out := map[string][]string{}
	for i := range list.Items {
		out[list.Items[i].Name] = owners(&list.Items[i])
	}
	return out
}

func TestAbsentOwners(t *testing.T) {
	for _, tc := range []struct {
		name string
		objs []client.Object
		want map[string][]string
	}{
		{"owned by one that is there", []client.Object{object("a"), object("b", "a")}, map[string][]string{"a": nil, "b": {"a"}}},
		{"owner gone", []client.Object{object("b", "a")}, map[string][]string{}},
		{"a chain", []client.Object{object("b", "a"), object("c", "b"), object("d", "c")}, map[string][]string{}},
		{"one of two owners gone", []client.Object{object("a"), object("b", "a", "x")}, map[string][]string{"a": nil, "b": {"a"}}},
		{"another of the owner's name", []client.Object{object("a"), func() client.Object {
			b := object("b", "a")
			b.OwnerReferences[0].UID = "former"
			return b
		}()}, map[string][]string{"a": nil}},
		{"an unknown kind", []client.Object{func() client.Object {
			b := object("b", "a")
			b.OwnerReferences[0].Kind = "Widget"
			return b
		}()}, map[string][]string{"b": {"a"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, settle(t, setup(tc.objs...))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func deleted(o *corev1.ConfigMap, finalizers ...string) *corev1.ConfigMap {
	o.DeletionTimestamp, o.Finalizers = new(metav1.Now()), finalizers
	return o
}

func TestOrphans(t *testing.T) {
	c := setup(deleted(object("a"), metav1.FinalizerOrphanDependents), object("b", "a"), object("c", "b"))
	if diff := cmp.Diff(map[string][]string{"b": {}, "c": {"b"}}, settle(t, c), cmp.Transformer("nil", func(s []string) []string { return append([]string{}, s...) })); diff != "" {
		t.Error(diff)
	}
}

func TestForeground(t *testing.T) {
	kept := object("b", "!a")
	kept.Finalizers = []string{"example.com/keep"}
	c := setup(deleted(object("a"), metav1.FinalizerDeleteDependents), kept, object("loose", "a"), object("shared", "a", "solid"), object("solid"))
	got := settle(t, c)
	if diff := cmp.Diff(map[string][]string{"a": nil, "b": {"a"}, "shared": {"solid"}, "solid": nil}, got); diff != "" {
		t.Fatalf("while a dependent blocks: %s", diff)
	}
	var b corev1.ConfigMap
	if err := c.Client.Get(t.Context(), client.ObjectKeyFromObject(kept), &b); err != nil || b.DeletionTimestamp == nil {
		t.Fatalf("the blocking dependent is not being deleted: %v", err)
	}
	b.Finalizers = nil
	if err := c.Client.Update(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string][]string{"shared": {"solid"}, "solid": nil}, settle(t, c)); diff != "" {
		t.Errorf("afterwards: %s", diff)
	}
}

// A cache that lags shows no owner although there is one: the live read saves the dependent.
func TestLooksPastTheCache(t *testing.T) {
	live := setup(object("a"), object("b", "a"))
	lagging := setup(object("b", "a"))
	lagging.Live = live.Client
	if diff := cmp.Diff(map[string][]string{"b": {"a"}}, settle(t, lagging)); diff != "" {
		t.Error(diff)
	}
}

func TestEvents(t *testing.T) {
	c := setup(object("b", "!a"), object("c", "b"))
	q := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[item]())
	defer q.ShutDown()
	h := c.events(maps)
	take := func() []string {
		var out []string
		for q.Len() > 0 {
			it, _ := q.Get()
			q.Done(it)
			out = append(out, it.key.Name)
		}
		slices.Sort(out)
		return slices.Compact(out)
	}
	h(t.Context(), nil, object("x"), q)
	h(t.Context(), object("x"), object("x"), q)
	h(t.Context(), object("x", "a"), object("x", "a"), q)
	if got := take(); len(got) != 0 {
		t.Errorf("objects without owners, or with the same, queue %v", got)
	}
	h(t.Context(), nil, object("b", "!a"), q)
	if diff := cmp.Diff([]string{"b"}, take()); diff != "" {
		t.Error(diff)
	}
	h(t.Context(), object("b", "!a"), object("b", "c"), q)
	if diff := cmp.Diff([]string{"a", "b"}, take()); diff != "" {
		t.Errorf("other owners queue the object and the owner that waits: %s", diff)
	}
	h(t.Context(), object("b", "!a"), nil, q)
	if diff := cmp.Diff([]string{"a", "c"}, take()); diff != "" {
		t.Errorf("a deletion queues the owner that waits and the dependents: %s", diff)
	}
	for _, old := range []client.Object{nil, object("a")} {
		h(t.Context(), old, deleted(object("a"), metav1.FinalizerDeleteDependents), q)
		if diff := cmp.Diff([]string{"a"}, take()); diff != "" {
			t.Error(diff)
		}
	}
}

func TestKeepsAnObjectThatChanged(t *testing.T) {
	c := setup(object("b", "gone"))
	it := item{maps, types.NamespacedName{Namespace: "default", Name: "b"}, "b"}
	seen := it.object()
	if err := c.Client.Get(t.Context(), it.key, seen); err != nil {
		t.Fatal(err)
	}
	var b corev1.ConfigMap
	if err := c.Client.Get(t.Context(), it.key, &b); err != nil {
		t.Fatal(err)
	}
	b.OwnerReferences = nil
	if err := c.Client.Update(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	if err := c.collect(t.Context(), it, seen); !apierrors.IsConflict(err) {
		t.Errorf("error is %v, want a conflict", err)
	}
}
