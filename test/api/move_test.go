//go:build e2e

package api_test

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

// mover writes objects of all kinds, as Kubernetes' users have them, to one server after the other.
type mover struct {
	*testing.T
	*examples
	dynamic.Interface
	config *rest.Config
	served map[schema.GroupVersionResource]metav1.APIResource
}

func newMover(t *testing.T, config *rest.Config) *mover {
	t.Helper()
	e, err := readExamples()
	if err != nil {
		t.Fatal(err)
	}
	// Quotas refuse pods until somebody has counted, and there is nobody.
	order := func(e example) string {
		if e.Resource == "resourcequotas" {
			return "~"
		}
		return e.gvr().String()
	}
	slices.SortFunc(e.Examples, func(a, b example) int { return cmp.Compare(order(a), order(b)) })
	return &mover{t, e, dynamic.NewForConfigOrDie(config), config, resources(t, config)}
}

var (
	definitions = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	namespaces  = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
	accounts    = schema.GroupVersionResource{Version: "v1", Resource: "serviceaccounts"}
	configMaps  = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	leases      = schema.GroupVersionResource{Group: "coordination.k8s.io", Version: "v1", Resource: "leases"}
)

func named(name string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{"metadata": map[string]any{"name": name}}}
}

// create makes an object, and fails the test if that fails but for a name that is taken.
func (m *mover) create(gvr schema.GroupVersionResource, namespace string, obj *unstructured.Unstructured) *unstructured.Unstructured {
	m.Helper()
	r := m.served[gvr]
	obj.SetAPIVersion(gvr.GroupVersion().String())
	obj.SetKind(r.Kind)
	obj.SetNamespace(namespace)
	made, err := m.Resource(gvr).Namespace(namespace).Create(m.Context(), obj, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		m.Errorf("create %s %s: %v", gvr, obj.GetName(), err)
	}
	return made
}

// define makes the custom kinds.
func (m *mover) define() {
	m.Helper()
	for i := range m.Definitions {
		raw, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&m.Definitions[i])
		if err != nil {
			m.Fatal(err)
		}
		delete(raw, "status")
		m.create(definitions, "", &unstructured.Unstructured{Object: raw})
	}
	eventually(m, 30*time.Second, func() error {
		m.served = resources(m, m.config)
		for _, e := range m.Examples {
			defined := slices.ContainsFunc(m.Definitions, func(d apiextension) bool { return d.Spec.Group == e.Group })
			if _, ok := m.served[e.gvr()]; defined && !ok {
				return fmt.Errorf("%s is not served: %w", e.gvr(), errNotYet)
			}
		}
		return nil
	})
}

// fill makes a namespace with an object of every kind, and the objects without a namespace with suffix behind their names.
func (m *mover) fill(namespace, suffix string) {
	m.Helper()
	m.create(namespaces, "", named(namespace))
	m.create(accounts, namespace, named("default"))
	for _, e := range m.Examples {
		r, ok := m.served[e.gvr()]
		if !ok {
			continue
		}
		obj, in := e.copy(), ""
		if r.Namespaced {
			in = namespace
			retarget(obj.Object, namespace)
		} else if suffix != "" {
			if namesMeanSomething[e.Resource] {
				continue
			}
			obj.SetName(obj.GetName() + suffix)
		}
		m.create(e.gvr(), in, obj)
	}
}

// namesMeanSomething are the kinds whose objects cannot have just any name.
var namesMeanSomething = map[string]bool{
	"apiservices": true, "customresourcedefinitions": true, "ipaddresses": true, "servicecidrs": true, "storageversions": true,
}

// retarget puts the namespace where the example names its own.
func retarget(v map[string]any, namespace string) {
	for key, value := range v {
		switch value := value.(type) {
		case map[string]any:
			retarget(value, namespace)
		case string:
			if value == "etcdstoragepathtestnamespace" {
				v[key] = namespace
			}
		}
	}
}

// change has each object's labels changed by one, its annotations applied by another, and its status written.
func (m *mover) change(namespace, suffix, value string) {
	m.Helper()
	for _, e := range m.Examples {
		r, ok := m.served[e.gvr()]
		if !ok || r.Namespaced != (namespace != "") {
			continue
		}
		name := e.name()
		if !r.Namespaced && !namesMeanSomething[e.Resource] {
			name += suffix
		}
		client := m.Resource(e.gvr()).Namespace(namespace)
		patch := fmt.Appendf(nil, `{"metadata":{"labels":{"move":%q}}}`, value)
		if _, err := client.Patch(m.Context(), name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: "labeller"}); err != nil {
			m.Errorf("patch %s %s: %v", e.gvr(), name, err)
			continue
		}
		applied := named(name)
		applied.SetAPIVersion(e.gvr().GroupVersion().String())
		applied.SetKind(r.Kind)
		applied.SetAnnotations(map[string]string{"applied": value})
		if _, err := client.Apply(m.Context(), name, applied, metav1.ApplyOptions{FieldManager: "applier"}); err != nil {
			m.Errorf("apply %s %s: %v", e.gvr(), name, err)
		}
	}
}

// dying makes objects that are deleted and not gone: their finalizers stay.
func (m *mover) dying(namespace string) {
	m.Helper()
	for _, r := range []schema.GroupVersionResource{
		configMaps,
		{Version: "v1", Resource: "secrets"},
		{Version: "v1", Resource: "pods"},
		{Group: "apps", Version: "v1", Resource: "deployments"},
		{Group: "cr.bar.com", Version: "v1", Resource: "foos"},
	} {
		i := slices.IndexFunc(m.Examples, func(e example) bool { return e.gvr() == r })
		obj := m.Examples[i].copy()
		obj.SetName("dying")
		obj.SetFinalizers([]string{"move.example.com/stay"})
		m.create(r, namespace, obj)
		if err := m.Resource(r).Namespace(namespace).Delete(m.Context(), "dying", metav1.DeleteOptions{}); err != nil {
			m.Errorf("delete %s: %v", r, err)
		}
	}
	m.create(namespaces, "", named(namespace+"-dying"))
	if err := m.Resource(namespaces).Delete(m.Context(), namespace+"-dying", metav1.DeleteOptions{}); err != nil {
		m.Errorf("delete the namespace: %v", err)
	}
}

// TestMoveOfEtcd takes an etcd from kube-apiserver to Gantry and back. Each reads what the other has written as it was.
func TestMoveOfEtcd(t *testing.T) {
	data, etcd := t.TempDir(), startEtcd(t, 2579)
	kube := &kubeAPIServer{data: data, etcd: etcd, port: 6446}
	// Without its DNS Gantry adds nothing of its own that kube-apiserver has not.
	gantry := &server{data: data, port: 6446, flags: []string{"--etcd-endpoints", etcd, "--dns=false"}}

	// Clients that wait for a server ask less and less often, so that the move is not to take long.
	if _, err := buildGantry(); err != nil {
		t.Fatal(err)
	}
	kube.start(t)
	config := rest.CopyConfig(kube.config)
	config.UserAgent = "move"
	m := newMover(t, config)
	// Nobody else is to change anything: the controllers of another server are said to run.
	held := named("gantry-control")
	held.Object["spec"] = map[string]any{
		"holderIdentity": "the test", "leaseDurationSeconds": int64(3600),
		"renewTime": time.Now().UTC().Format(metav1.RFC3339Micro), "acquireTime": time.Now().UTC().Format(metav1.RFC3339Micro),
	}
	m.create(leases, "kube-system", held)
	m.define()
	for _, namespace := range []string{"move-a", "move-b"} {
		m.fill(namespace, "")
		m.change(namespace, "", "kubernetes")
	}
	m.change("", "", "kubernetes")
	m.dying("move-a")
	token := m.token("move-a")
	followed := follow(t, config)
	before := list(t, config)
	kube.stop(t)

	gantry.start(t)
	after := list(t, config)
	t.Logf("%d objects are the same in Gantry; not served: %s", before.compare(t, after, kept), before.only(after))
	wantAccount(t, config, token, "move-a")
	wantExpired(t, config)
	if t.Failed() {
		return
	}
	m = newMover(t, config)
	m.fill("move-c", "-2")
	m.change("move-a", "", "gantry")
	m.change("move-c", "", "gantry")
	m.change("", "", "gantry")
	m.change("", "-2", "gantry")
	m.dying("move-c")
	token = m.token("move-c")
	ours := list(t, config)
	wantFollowed(t, followed, ours[configMaps])
	gantry.stop(t)

	kube.start(t)
	eventually(t, 60*time.Second, func() error { // it registers what only it serves, which Gantry has taken away
		served := resources(t, config)
		for gvr := range before {
			if _, ok := served[gvr]; !ok {
				return fmt.Errorf("%s is not served: %w", gvr, errNotYet)
			}
		}
		return nil
	})
	again := list(t, config)
	t.Logf("%d objects are the same in kube-apiserver; not served: %s", ours.compare(t, again, kept), ours.only(again))
	t.Logf("%d objects were left alone", before.only(after).compare(t, again, kept))
	wantAccount(t, config, token, "move-c")
	wantExpired(t, config)
	wantFollowed(t, followed, again[configMaps])
}

// token asks for one for a namespace's default service account.
func (m *mover) token(namespace string) string {
	m.Helper()
	client := kubernetes.NewForConfigOrDie(m.config)
	got, err := client.CoreV1().ServiceAccounts(namespace).CreateToken(m.Context(), "default", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		m.Fatal(err)
	}
	return got.Status.Token
}

// wantAccount asks the server whom it believes the token's bearer to be.
func wantAccount(t *testing.T, config *rest.Config, token, namespace string) {
	t.Helper()
	as := rest.AnonymousClientConfig(config)
	as.BearerToken = token
	got, err := kubernetes.NewForConfigOrDie(as).AuthenticationV1().SelfSubjectReviews().
		Create(t.Context(), &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if want := "system:serviceaccount:" + namespace + ":default"; err != nil || got.Status.UserInfo.Username != want {
		t.Errorf("the token of before is that of %+v, %v, want %s", got, err, want)
	}
}

// wantExpired watches from a revision that is older than the server itself, which it must say.
func wantExpired(t *testing.T, config *rest.Config) {
	t.Helper()
	w, err := dynamic.NewForConfigOrDie(config).Resource(configMaps).Watch(t.Context(), metav1.ListOptions{ResourceVersion: "2"})
	if err == nil {
		defer w.Stop()
		ev := <-w.ResultChan()
		err = apierrors.FromObject(ev.Object)
	}
	if !apierrors.IsResourceExpired(err) && !apierrors.IsGone(err) {
		t.Errorf("a watch from the second revision ends with %v", err)
	}
}

// follow keeps the config maps up to date by a list and watches, whichever server it is that answers.
func follow(t *testing.T, config *rest.Config) cache.Store {
	t.Helper()
	informer := dynamicinformer.NewFilteredDynamicInformer(dynamic.NewForConfigOrDie(config), configMaps, "", 0, cache.Indexers{}, nil).Informer()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		informer.RunWithContext(ctx)
	}()
	t.Cleanup(func() {
		stop()
		<-done
	})
	if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		t.Fatal("the config maps are not listed")
	}
	return informer.GetStore()
}

func wantFollowed(t *testing.T, have cache.Store, want map[string]*unstructured.Unstructured) {
	t.Helper()
	eventually(t, 2*time.Minute, func() error {
		for name, obj := range want {
			got, ok, err := have.GetByKey(name)
			if err != nil || !kept(configMaps, obj) && (!ok || got.(*unstructured.Unstructured).GetResourceVersion() != obj.GetResourceVersion()) {
				return fmt.Errorf("the informer has %v of %s, %v: %w", got, name, err, errNotYet)
			}
		}
		if n := len(have.ListKeys()); n != len(want) {
			return fmt.Errorf("the informer has %d objects, want %d: %w", n, len(want), errNotYet)
		}
		return nil
	})
}
