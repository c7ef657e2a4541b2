//go:build e2e

package api_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/scheme"
)

func TestTwoServersOverOneEtcd(t *testing.T) {
	url := startEtcd(t, 2379)
	a := &server{data: t.TempDir(), port: 6443, flags: []string{"--etcd-endpoints", url}}
	b := &server{data: t.TempDir(), port: 6444, flags: []string{"--etcd-endpoints", url}}
	a.start(t)
	b.start(t)
	here, there := a.client(t).CoreV1().ConfigMaps("default"), b.client(t).CoreV1().ConfigMaps("default")

	w, err := there.Watch(t.Context(), ours)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	const n = 50
	for i := range n {
		name := fmt.Sprintf("m%02d", i)
		made, err := here.Create(t.Context(), configMap(name, nil), metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		// A read that begins after the answer sees the write, on every server.
		got, err := there.Get(t.Context(), name, metav1.GetOptions{})
		if err != nil || got.ResourceVersion != made.ResourceVersion {
			t.Fatalf("the other server has %v %v", got, err)
		}
		list, err := there.List(t.Context(), ours)
		if err != nil || len(list.Items) != i+1 {
			t.Fatalf("the other server lists %d, want %d: %v", len(list.Items), i+1, err)
		}
	}
	deadline := time.After(30 * time.Second)
	for i := range n {
		select {
		case ev := <-w.ResultChan():
			if cm := ev.Object.(*corev1.ConfigMap); ev.Type != watch.Added || cm.Name != fmt.Sprintf("m%02d", i) {
				t.Fatalf("event %d: %s %s", i, ev.Type, cm.Name)
			}
		case <-deadline:
			t.Fatalf("saw %d events of %d", i, n)
		}
	}
	writeFromBoth(t, a, b)
}

// writeFromBoth adds keys to one object through both servers; patches are retried inside, so none is lost.
func writeFromBoth(t *testing.T, servers ...*server) {
	t.Helper()
	const each = 40
	if _, err := servers[0].client(t).CoreV1().ConfigMaps("default").Create(t.Context(), configMap("both", nil), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i, s := range servers {
		maps := s.client(t).CoreV1().ConfigMaps("default")
		wg.Go(func() {
			for k := range each {
				patch := fmt.Appendf(nil, `{"data":{"%d-%d":"x"}}`, i, k)
				if _, err := maps.Patch(t.Context(), "both", "application/merge-patch+json", patch, metav1.PatchOptions{}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for _, s := range servers {
		got, err := s.client(t).CoreV1().ConfigMaps("default").Get(t.Context(), "both", metav1.GetOptions{})
		if err != nil || len(got.Data) != each*len(servers) {
			t.Errorf("port %d: %d keys, want %d: %v", s.port, len(got.Data), each*len(servers), err)
		}
	}
}

func TestTheLayoutIsThatOfKubernetes(t *testing.T) {
	url := startEtcd(t, 2479)
	s := &server{data: t.TempDir(), port: 6445, flags: []string{"--etcd-endpoints", url}}
	s.start(t)
	api := s.client(t)
	if _, err := api.CoreV1().Nodes().Create(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := api.CoreV1().ConfigMaps("default").Create(t.Context(), configMap("c", map[string]string{"k": "v"}), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	etcd := etcdClient(t, url)
	decoder := protobuf.NewSerializer(scheme.Scheme, scheme.Scheme)
	for key, kind := range map[string]string{
		"/registry/minions/n":                             "Node",
		"/registry/configmaps/default/c":                  "ConfigMap",
		"/registry/namespaces/kube-system":                "Namespace",
		"/registry/services/specs/default/kubernetes":     "Service",
		"/registry/services/endpoints/default/kubernetes": "Endpoints",
		"/registry/endpointslices/default/kubernetes":     "EndpointSlice",
		"/registry/priorityclasses/system-node-critical":  "PriorityClass",
	} {
		resp, err := etcd.Get(t.Context(), key)
		if err != nil || len(resp.Kvs) != 1 {
			t.Errorf("%s: %v %v", key, resp, err)
			continue
		}
		obj, gvk, err := decoder.Decode(resp.Kvs[0].Value, nil, nil)
		if err != nil || gvk.Kind != kind {
			t.Errorf("%s: %v %v", key, gvk, err)
			continue
		}
		meta := obj.(metav1.ObjectMetaAccessor).GetObjectMeta()
		if !strings.HasSuffix(key, "/"+meta.GetName()) || meta.GetUID() == "" || meta.GetResourceVersion() != "" {
			t.Errorf("%s holds %+v", key, meta)
		}
	}
	putByHand(t, s, etcd, decoder)
}

// putByHand writes as a kube-apiserver would, and reads it through the server.
func putByHand(t *testing.T, s *server, etcd *clientv3.Client, encoder runtime.Encoder) {
	t.Helper()
	var buf strings.Builder
	foreign := configMap("foreign", map[string]string{"from": "elsewhere"})
	foreign.Namespace, foreign.UID = "default", "u"
	foreign.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("ConfigMap"))
	if err := encoder.Encode(foreign, &buf); err != nil {
		t.Fatal(err)
	}
	if _, err := etcd.Put(t.Context(), "/registry/configmaps/default/foreign", buf.String()); err != nil {
		t.Fatal(err)
	}
	got, err := s.client(t).CoreV1().ConfigMaps("default").Get(t.Context(), "foreign", metav1.GetOptions{})
	if err != nil || got.Data["from"] != "elsewhere" || got.ResourceVersion == "" {
		t.Errorf("read %+v %v", got, err)
	}
}

// Controllers run in one of the servers, and in another when that one dies.
func TestOneOfTwoServersRunsTheControllers(t *testing.T) {
	url := startEtcd(t, 2381)
	a := &server{data: t.TempDir(), port: 6443, flags: []string{"--etcd-endpoints", url}}
	b := &server{data: t.TempDir(), port: 6444, flags: []string{"--etcd-endpoints", url}}
	a.start(t)
	b.start(t)
	holder := func(s *server) string {
		lease, err := s.client(t).CoordinationV1().Leases("kube-system").Get(t.Context(), "gantry-control", metav1.GetOptions{})
		if err != nil || lease.Spec.HolderIdentity == nil {
			return ""
		}
		return *lease.Spec.HolderIdentity
	}
	replaced := func(s *server, name string) error {
		sets, err := s.client(t).AppsV1().ReplicaSets("default").List(t.Context(), metav1.ListOptions{LabelSelector: "app=" + name})
		if err == nil && len(sets.Items) != 1 {
			err = fmt.Errorf("%d replica sets of %s", len(sets.Items), name)
		}
		return err
	}
	deploy := func(s *server, name string) {
		t.Helper()
		labels := map[string]string{"app": name}
		_, err := s.client(t).AppsV1().Deployments("default").Create(t.Context(), &appsv1.Deployment{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec: appsv1.DeploymentSpec{
				Selector: &metav1.LabelSelector{MatchLabels: labels},
				Template: corev1.PodTemplateSpec{
					ObjectMeta: metav1.ObjectMeta{Labels: labels},
					Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}},
				},
			},
		}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
	}
	deploy(b, "first")
	eventually(t, 30*time.Second, func() error { return replaced(b, "first") })
	first := holder(a)
	if first == "" || first != holder(b) {
		t.Fatalf("led by %q and %q", first, holder(b))
	}
	a.kill()
	deploy(b, "second")
	eventually(t, 60*time.Second, func() error { return replaced(b, "second") })
	if now := holder(b); now == first || now == "" {
		t.Errorf("led by %q, as before the kill", now)
	}
}
