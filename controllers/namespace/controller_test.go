package namespace

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

var request = reconcile.Request{NamespacedName: client.ObjectKey{Name: "old"}}

// setup returns a controller over an API that has the objects, and where finalized namespaces are noted.
func setup(funcs interceptor.Funcs, objs ...client.Object) (*Controller, *[]string) {
	var finalized []string
	funcs.SubResourceUpdate = func(ctx context.Context, c client.Client, sub string, obj client.Object, opts ...client.SubResourceUpdateOption) error {
		if sub == "finalize" {
			finalized = append(finalized, fmt.Sprint(obj.GetName(), obj.(*corev1.Namespace).Spec.Finalizers))
			return nil
		}
		return c.SubResource(sub).Update(ctx, obj, opts...)
	}
	api := fake.NewClientBuilder().WithScheme(scheme.Scheme).WithObjects(objs...).WithStatusSubresource(&corev1.Namespace{}).WithInterceptorFuncs(funcs).Build()
	return &Controller{
		Client: api, Clock: func() time.Time { return start },
		Kinds: []schema.GroupVersionKind{corev1.SchemeGroupVersion.WithKind("Pod"), corev1.SchemeGroupVersion.WithKind("ConfigMap")},
	}, &finalized
}

func ending(name string) *corev1.Namespace {
	return &corev1.Namespace{
		// The fake client insists on a finalizer of the metadata for objects that are being deleted.
		ObjectMeta: metav1.ObjectMeta{Name: name, DeletionTimestamp: &metav1.Time{Time: start}, Finalizers: []string{"fake"}},
		Spec:       corev1.NamespaceSpec{Finalizers: []corev1.FinalizerName{"kubernetes", "example.com/mine"}},
		Status:     corev1.NamespaceStatus{Phase: corev1.NamespaceTerminating},
	}
}

func content(namespace, name string, finalizers ...string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Finalizers: finalizers}}
}

func TestEmptiesAndFinalizes(t *testing.T) {
	c, finalized := setup(interceptor.Funcs{}, ending("old"), content("old", "a"), content("old", "b"), content("other", "c"))
	if _, err := c.Reconcile(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	var left corev1.ConfigMapList
	if err := c.Client.List(t.Context(), &left); err != nil {
		t.Fatal(err)
	}
	if len(left.Items) != 1 || left.Items[0].Name != "c" {
		t.Errorf("left are %+v", left.Items)
	}
	if diff := cmp.Diff([]string{"old[example.com/mine]"}, *finalized); diff != "" {
		t.Error(diff)
	}
}

func TestLeavesActiveNamespaces(t *testing.T) {
	active := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "old"}, Spec: corev1.NamespaceSpec{Finalizers: []corev1.FinalizerName{"kubernetes"}}}
	c, finalized := setup(interceptor.Funcs{}, active, content("old", "a"))
	if _, err := c.Reconcile(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	if err := c.Client.Get(t.Context(), client.ObjectKey{Namespace: "old", Name: "a"}, &corev1.ConfigMap{}); err != nil || len(*finalized) > 0 {
		t.Errorf("content: %v, finalized: %v", err, *finalized)
	}
}

func TestWaitsForFinalizers(t *testing.T) {
	c, finalized := setup(interceptor.Funcs{}, ending("old"), content("old", "a", "example.com/keep"))
	got, err := c.Reconcile(t.Context(), request)
	if err != nil || got.RequeueAfter == 0 || len(*finalized) > 0 {
		t.Fatalf("result %+v, %v, finalized %v", got, err, *finalized)
	}
	var ns corev1.Namespace
	if err := c.Client.Get(t.Context(), request.NamespacedName, &ns); err != nil {
		t.Fatal(err)
	}
	var said []string
	for _, cond := range ns.Status.Conditions {
		if cond.Status == corev1.ConditionTrue {
			said = append(said, cond.Message)
		}
	}
	want := []string{
		"Some resources are remaining: configmaps has 1 resource instances",
		"Some content in the namespace has finalizers remaining: example.com/keep in 1 resource instances",
	}
	if diff := cmp.Diff(want, said); diff != "" {
		t.Error(diff)
	}
	if !c.ending["old"] {
		t.Error("events of its content are not waited for")
	}
}

func TestPodsGoFirst(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "old", Name: "p", Finalizers: []string{"example.com/keep"}}}
	c, finalized := setup(interceptor.Funcs{}, ending("old"), pod, content("old", "a"))
	reconcileOnce := func() {
		t.Helper()
		if _, err := c.Reconcile(t.Context(), request); err != nil {
			t.Fatal(err)
		}
	}
	reconcileOnce()
	a := &corev1.ConfigMap{}
	if err := c.Client.Get(t.Context(), client.ObjectKey{Namespace: "old", Name: "a"}, a); err != nil {
		t.Errorf("other content went before the pods: %v", err)
	}
	if err := c.Client.Get(t.Context(), client.ObjectKeyFromObject(pod), pod); err != nil || pod.DeletionTimestamp == nil {
		t.Fatalf("the pod is not being deleted: %v", err)
	}
	pod.Finalizers = nil
	if err := c.Client.Update(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	reconcileOnce()
	if err := c.Client.Get(t.Context(), client.ObjectKey{Namespace: "old", Name: "a"}, a); !apierrors.IsNotFound(err) || len(*finalized) != 1 {
		t.Errorf("other content: %v, finalized %v", err, *finalized)
	}
}

func TestDoesNotFinalizeWhenAListFails(t *testing.T) {
	broken := errors.New("broken")
	c, finalized := setup(interceptor.Funcs{List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error { return broken }}, ending("old"))
	if _, err := c.Reconcile(t.Context(), request); !errors.Is(err, broken) || len(*finalized) > 0 {
		t.Errorf("error is %v, finalized %v", err, *finalized)
	}
}

// A server that cannot be asked may have content of the namespace.
func TestWaitsForOtherServers(t *testing.T) {
	gv := schema.GroupVersion{Group: "things.example.com", Version: "v1"}
	away := &discovery.ErrGroupDiscoveryFailed{Groups: map[schema.GroupVersion]error{gv: errors.New("away")}}
	c, finalized := setup(interceptor.Funcs{}, ending("old"), content("old", "a"))
	c.Elsewhere = func(context.Context) ([]schema.GroupVersionKind, error) { return nil, away }
	got, err := c.Reconcile(t.Context(), request)
	if err != nil || got.RequeueAfter == 0 || len(*finalized) > 0 {
		t.Fatalf("result %+v, %v, finalized %v", got, err, *finalized)
	}
	var ns corev1.Namespace
	if err := c.Client.Get(t.Context(), request.NamespacedName, &ns); err != nil {
		t.Fatal(err)
	}
	cond := ns.Status.Conditions[0]
	said := fmt.Sprint(cond.Type, " ", cond.Status, " ", cond.Reason, ": ", cond.Message)
	want := "NamespaceDeletionDiscoveryFailure True DiscoveryFailed: Discovery failed for some groups, 1 failing: " +
		"unable to retrieve the complete list of server APIs: things.example.com/v1: away"
	if said != want {
		t.Errorf("it says %q, want %q", said, want)
	}
	if err := c.Client.Get(t.Context(), client.ObjectKey{Namespace: "old", Name: "a"}, &corev1.ConfigMap{}); !apierrors.IsNotFound(err) {
		t.Errorf("what is known was not deleted: %v", err)
	}
	c.Elsewhere = func(context.Context) ([]schema.GroupVersionKind, error) { return nil, nil }
	if _, err := c.Reconcile(t.Context(), request); err != nil || len(*finalized) != 1 {
		t.Errorf("afterwards: %v, finalized %v", err, *finalized)
	}
}

// Only the end of something in a namespace that waits for it brings the namespace back.
func TestContentEvents(t *testing.T) {
	c := &Controller{}
	c.note("old", true)
	q := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
	defer q.ShutDown()
	c.contentEvents(t.Context(), nil, content("old", "a"), q)
	c.contentEvents(t.Context(), content("old", "a"), content("old", "a"), q)
	c.contentEvents(t.Context(), content("other", "a"), nil, q)
	if q.Len() > 0 {
		t.Errorf("%d queued", q.Len())
	}
	c.contentEvents(t.Context(), content("old", "a"), nil, q)
	if q.Len() != 1 {
		t.Fatalf("%d queued for a deletion", q.Len())
	}
	if got, _ := q.Get(); got != request {
		t.Errorf("queued %v", got)
	}
}
