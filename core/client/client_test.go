package client_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	appsv1beta1 "k8s.io/api/apps/v1beta1"
	authenticationv1 "k8s.io/api/authentication/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	applycorev1 "k8s.io/client-go/applyconfigurations/core/v1"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gantryio/gantry/core/admission"
	"github.com/gantryio/gantry/core/api/all"
	"github.com/gantryio/gantry/core/apiserver"
	"github.com/gantryio/gantry/core/auth"
	"github.com/gantryio/gantry/core/cache"
	gantry "github.com/gantryio/gantry/core/client"
	"github.com/gantryio/gantry/core/store"
)

var (
	api   *gantry.Client
	local *gantry.Cache
)

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

func run(m *testing.M) (int, error) {
	dir, err := os.MkdirTemp("", "client")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	st, err := store.Open(ctx, store.Config{Dir: dir, Tick: 10 * time.Millisecond})
	if err != nil {
		return 1, err
	}
	defer st.Close()
	kinds := all.Kinds()
	c := cache.New(st, kinds)
	go func() { _ = c.Run(ctx) }()
	<-c.Synced()
	s := &apiserver.Server{
		Registry: kinds, Store: st, Cache: c, ServiceRange: netip.MustParsePrefix("10.96.0.0/24"),
		Admission: admission.Default(admission.Reader{Cache: c, Registry: kinds}),
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return 1, err
	}
	s.Tokens = &auth.Tokens{Key: key, Objects: s.TokenObjects()}
	s.Init()
	if err := s.Bootstrap(ctx, "192.0.2.1", 6443); err != nil {
		return 1, err
	}
	local = gantry.NewCache(c, kinds)
	go func() { _ = local.Start(ctx) }()
	api = (&gantry.Client{Server: s, Cache: c, Registry: kinds}).As("tester")
	return m.Run(), nil
}

func configMap(name, value string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, Labels: map[string]string{"test": name[:1]}}, Data: map[string]string{"k": value},
	}
}

func do(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestReadsAndWrites(t *testing.T) {
	ctx := t.Context()
	cm := configMap("rw", "1")
	do(t, api.Create(ctx, cm))
	if cm.UID == "" || cm.ManagedFields[0].Manager != "tester" {
		t.Errorf("created %+v", cm)
	}
	got := &corev1.ConfigMap{}
	do(t, api.Get(ctx, client.ObjectKeyFromObject(cm), got))
	if d := cmp.Diff(cm, got); d != "" {
		t.Error(d)
	}
	stale := got.DeepCopy()
	got = got.DeepCopy()
	got.Data["k"] = "2"
	do(t, api.Update(ctx, got))
	if err := api.Update(ctx, stale.DeepCopy()); err != nil && !apierrors.IsConflict(err) {
		t.Errorf("stale update: %v", err)
	}
	stale.Data["k"] = "3"
	if err := api.Update(ctx, stale); !apierrors.IsConflict(err) {
		t.Errorf("stale update: %v, want a conflict", err)
	}
	changed := got.DeepCopy()
	changed.Data["k"] = "4"
	do(t, api.Patch(ctx, changed, client.MergeFrom(got)))
	do(t, api.Apply(ctx, applycorev1.ConfigMap("rw", "default").WithData(map[string]string{"applied": "5"}), client.FieldOwner("applier")))
	do(t, api.Get(ctx, client.ObjectKeyFromObject(cm), got))
	if d := cmp.Diff(map[string]string{"k": "4", "applied": "5"}, got.Data); d != "" {
		t.Error(d)
	}
	dry := configMap("dry", "1")
	do(t, api.Create(ctx, dry, client.DryRunAll))
	if err := api.Get(ctx, client.ObjectKeyFromObject(dry), got); !apierrors.IsNotFound(err) {
		t.Errorf("dry run: %v", err)
	}
	do(t, api.Delete(ctx, cm, client.Preconditions{UID: &cm.UID}))
	if err := api.Get(ctx, client.ObjectKeyFromObject(cm), got); !apierrors.IsNotFound(err) {
		t.Errorf("deleted: %v", err)
	}
}

func TestListsOfAllForms(t *testing.T) {
	ctx := t.Context()
	for _, name := range []string{"l1", "l2", "l3"} {
		do(t, api.Create(ctx, configMap(name, name)))
	}
	only := []client.ListOption{client.InNamespace("default"), client.MatchingLabels{"test": "l"}}
	typed := &corev1.ConfigMapList{}
	do(t, api.List(ctx, typed, only...))
	plain := &unstructured.UnstructuredList{}
	plain.SetAPIVersion("v1")
	plain.SetKind("ConfigMapList")
	do(t, api.List(ctx, plain, only...))
	metas := &metav1.PartialObjectMetadataList{}
	metas.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("ConfigMapList"))
	do(t, api.List(ctx, metas, only...))
	if len(typed.Items) != 3 || len(plain.Items) != 3 || len(metas.Items) != 3 || plain.Items[1].GetName() != "l2" || metas.Items[2].Name != "l3" || typed.ResourceVersion == "" {
		t.Errorf("listed %d, %d, %d", len(typed.Items), len(plain.Items), len(metas.Items))
	}
	do(t, local.IndexField(ctx, &corev1.ConfigMap{}, "value", func(o client.Object) []string { return []string{o.(*corev1.ConfigMap).Data["k"]} }))
	do(t, local.List(ctx, typed, client.InNamespace("default"), client.MatchingFields{"value": "l2"}))
	if len(typed.Items) != 1 || typed.Items[0].Name != "l2" {
		t.Errorf("by index: %+v", typed.Items)
	}
	do(t, api.List(ctx, typed, append(only, client.Limit(2))...))
	if len(typed.Items) != 2 {
		t.Errorf("limited: %d", len(typed.Items))
	}
	do(t, api.DeleteAllOf(ctx, &corev1.ConfigMap{}, client.InNamespace("default"), client.MatchingLabels{"test": "l"}))
	do(t, api.List(ctx, typed, only...))
	if len(typed.Items) != 0 {
		t.Errorf("left: %d", len(typed.Items))
	}
	if err := api.List(ctx, &appsv1beta1.DeploymentList{}); err == nil {
		t.Error("a kind that is not served was listed")
	}
}

func TestUnstructuredWrites(t *testing.T) {
	u := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "u", "namespace": "default"}, "data": map[string]any{"k": "1"},
	}}
	do(t, api.Create(t.Context(), u))
	if u.GetUID() == "" || u.GetKind() != "ConfigMap" {
		t.Errorf("created %+v", u.Object)
	}
	do(t, unstructured.SetNestedField(u.Object, "2", "data", "k"))
	do(t, api.Update(t.Context(), u))
	meta := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "u"}}
	meta.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("ConfigMap"))
	do(t, api.Get(t.Context(), types.NamespacedName{Namespace: "default", Name: "u"}, meta))
	if meta.ResourceVersion != u.GetResourceVersion() {
		t.Errorf("metadata %s, want %s", meta.ResourceVersion, u.GetResourceVersion())
	}
	do(t, api.Delete(t.Context(), meta))
}

func TestSubresources(t *testing.T) {
	ctx := t.Context()
	labels := map[string]string{"app": "d"}
	template := corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}}}
	d := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "d"},
		Spec:       appsv1.DeploymentSpec{Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: template},
	}
	do(t, api.Create(ctx, d))
	d = d.DeepCopy()
	d.Status.Replicas = 3
	do(t, api.Status().Update(ctx, d))
	scale := &autoscalingv1.Scale{}
	do(t, api.SubResource("scale").Get(ctx, d, scale))
	if scale.Spec.Replicas != 1 || scale.Status.Replicas != 3 {
		t.Errorf("scale %+v %+v", scale.Spec, scale.Status)
	}
	scale.Spec.Replicas = 4
	do(t, api.SubResource("scale").Update(ctx, d, client.WithSubResourceBody(scale)))
	got := &appsv1.Deployment{}
	do(t, api.Get(ctx, client.ObjectKeyFromObject(d), got))
	if *got.Spec.Replicas != 4 || got.Status.Replicas != 3 {
		t.Errorf("scaled %d, status %+v", *got.Spec.Replicas, got.Status)
	}
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "p"}, Spec: template.Spec}
	do(t, api.Create(ctx, p))
	do(t, api.SubResource("binding").Create(ctx, p, &corev1.Binding{Target: corev1.ObjectReference{Name: "n"}}))
	do(t, api.SubResource("eviction").Create(ctx, p, &policyv1.Eviction{}))
	do(t, api.Get(ctx, client.ObjectKeyFromObject(p), p))
	if p.Spec.NodeName != "n" || p.DeletionTimestamp == nil {
		t.Errorf("bound and evicted: %+v", p)
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "robot"}}
	do(t, api.Create(ctx, account))
	request := &authenticationv1.TokenRequest{}
	do(t, api.SubResource("token").Create(ctx, account, request))
	if request.Status.Token == "" || request.Status.ExpirationTimestamp.IsZero() {
		t.Errorf("the answer to a request for a token is %+v", request)
	}
}

func TestAWatch(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	do(t, api.Create(ctx, configMap("w1", "1")))
	w, err := api.Watch(ctx, &corev1.ConfigMapList{}, client.InNamespace("default"), client.MatchingLabels{"test": "w"})
	do(t, err)
	defer w.Stop()
	do(t, api.Create(ctx, configMap("x", "1")))
	do(t, api.Create(ctx, configMap("w2", "1")))
	do(t, api.Delete(ctx, configMap("w1", "")))
	var got []string
	for range 3 {
		ev := <-w.ResultChan()
		got = append(got, string(ev.Type)+" "+ev.Object.(*corev1.ConfigMap).Name)
	}
	if d := cmp.Diff([]string{"ADDED w1", "ADDED w2", "DELETED w1"}, got); d != "" {
		t.Error(d)
	}
	old, err := api.Watch(ctx, &corev1.ConfigMapList{}, &client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: "bad"}})
	if err == nil {
		old.Stop()
		t.Error("a watch from a bad revision began")
	}
	w.Stop()
	if ev, open := <-w.ResultChan(); open {
		t.Errorf("after Stop: %v", ev)
	}
}

func TestInformersDeliverInOrder(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	do(t, api.Create(ctx, configMap("i1", "1")))
	informer, err := local.GetInformer(ctx, &corev1.ConfigMap{})
	do(t, err)
	got := make(chan string, 100)
	note := func(kind watch.EventType, o any) {
		if cm := o.(*corev1.ConfigMap); cm.Labels["test"] == "i" {
			got <- string(kind) + " " + cm.Name + " " + cm.Data["k"]
		}
	}
	reg, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc: func(o any) { note(watch.Added, o) }, UpdateFunc: func(_, o any) { note(watch.Modified, o) }, DeleteFunc: func(o any) { note(watch.Deleted, o) },
	})
	do(t, err)
	if !toolscache.WaitForCacheSync(ctx.Done(), reg.HasSynced, informer.HasSynced) {
		t.Fatal("never synced")
	}
	if len(got) != 1 {
		t.Errorf("synced after %d initial objects, want 1", len(got))
	}
	want := []string{"ADDED i1 1"}
	for i := range 20 {
		cm := configMap("i1", fmt.Sprint(i+2))
		do(t, api.Update(ctx, cm))
		want = append(want, "MODIFIED i1 "+cm.Data["k"])
	}
	do(t, api.Delete(ctx, configMap("i1", "")))
	want = append(want, "DELETED i1 21")
	var have []string
	for range want {
		select {
		case s := <-got:
			have = append(have, s)
		case <-ctx.Done():
			t.Fatalf("got %q", have)
		}
	}
	if d := cmp.Diff(want, have); d != "" {
		t.Error(d)
	}
	do(t, informer.RemoveEventHandler(reg))
	if err := informer.RemoveEventHandler(reg); err == nil {
		t.Error("removed twice")
	}
	do(t, local.RemoveInformer(ctx, &corev1.ConfigMap{}))
	if _, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{}); err == nil || !informer.IsStopped() {
		t.Error("a stopped informer took a handler")
	}
}

func TestKindsOfObjects(t *testing.T) {
	gvk, err := api.GroupVersionKindFor(&appsv1.DeploymentList{})
	if err != nil || gvk.Kind != "Deployment" {
		t.Errorf("%v %v", gvk, err)
	}
	for obj, want := range map[client.Object]bool{&corev1.Node{}: false, &corev1.Pod{}: true} {
		if got, err := api.IsObjectNamespaced(obj); err != nil || got != want {
			t.Errorf("%T: %t %v", obj, got, err)
		}
	}
	mapping, err := api.RESTMapper().RESTMapping(gvk.GroupKind())
	if err != nil || mapping.Resource.Resource != "deployments" {
		t.Errorf("%v %v", mapping, err)
	}
	if err := api.Create(t.Context(), &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}}); err == nil || errors.Is(err, context.Canceled) {
		t.Errorf("metadata alone was created: %v", err)
	}
}
