package control

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	crcache "sigs.k8s.io/controller-runtime/pkg/cache"
	ctrlclient "sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gantryio/gantry/controllers/garbage"
	"github.com/gantryio/gantry/core/apiserver"
	"github.com/gantryio/gantry/core/client"
)

func (c *cluster) openElsewhere() *garbage.Elsewhere {
	c.t.Helper()
	config := &rest.Config{Host: "https://in-process.invalid", Transport: apiserver.Loopback{Server: c.server, User: c.User}, QPS: -1}
	mapping := client.Mapping(c.server.RemoteMapping)
	other, err := ctrlclient.New(config, ctrlclient.Options{Scheme: scheme.Scheme, Mapper: mapping})
	if err != nil {
		c.t.Fatal(err)
	}
	c.Elsewhere = other
	watched, err := crcache.New(config, crcache.Options{Scheme: scheme.Scheme, Mapper: mapping, ReaderFailOnMissingInformer: true})
	if err != nil {
		c.t.Fatal(err)
	}
	return &garbage.Elsewhere{Cache: watched, Changed: c.server.RemoteKindsChanged, Kinds: func(ctx context.Context) []schema.GroupVersionKind {
		kinds, _ := c.namespacedElsewhere(ctx)
		return kinds
	}}
}

func (c *cluster) namespacedElsewhere(ctx context.Context) ([]schema.GroupVersionKind, error) {
	all, err := c.server.RemoteKinds(ctx)
	var out []schema.GroupVersionKind
	for _, k := range all {
		if k.Namespaced && k.Can("list", "watch", "delete") {
			out = append(out, k.GroupVersionKind)
		}
	}
	return out, err
}

// things is an aggregated API server that keeps the metadata of Things.
type things struct {
	mu       sync.Mutex
	revision int
	objs     map[types.NamespacedName]*metav1.PartialObjectMetadata
	watchers map[chan any]bool
	changed  chan struct{} // closed, and made anew, by each change
}

var thing = schema.GroupVersionKind{Group: "things.example.com", Version: "v1", Kind: "Thing"}

func (s *things) put(o *metav1.PartialObjectMetadata) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.store("ADDED", o)
}

func (s *things) store(event string, o *metav1.PartialObjectMetadata) {
	s.revision++
	o = o.DeepCopy()
	o.TypeMeta = metav1.TypeMeta{APIVersion: "meta.k8s.io/v1", Kind: "PartialObjectMetadata"}
	o.ResourceVersion = fmt.Sprint(s.revision)
	s.objs[ctrlclient.ObjectKeyFromObject(o)] = o
	if event == "DELETED" {
		delete(s.objs, ctrlclient.ObjectKeyFromObject(o))
	}
	close(s.changed)
	s.changed = make(chan struct{})
	for w := range s.watchers {
		w <- map[string]any{"type": event, "object": o}
	}
}

// until waits until these are left.
func (s *things) until(c *cluster, names string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.ctx, 30*time.Second)
	defer cancel()
	for {
		s.mu.Lock()
		changed := s.changed
		s.mu.Unlock()
		have := s.names()
		if have == names {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			c.t.Fatalf("left are %q, want %q", have, names)
		}
	}
}

func (s *things) names() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for key := range s.objs {
		out = append(out, key.Name)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func (s *things) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	parts := strings.Split(strings.Trim(strings.TrimPrefix(req.URL.Path, "/apis/things.example.com/v1"), "/"), "/")
	switch {
	case !strings.HasPrefix(req.URL.Path, "/apis/things.example.com/v1"):
		http.NotFound(w, req)
	case parts[0] == "":
		_ = json.NewEncoder(w).Encode(metav1.APIResourceList{GroupVersion: "things.example.com/v1", APIResources: []metav1.APIResource{{
			Name: "things", SingularName: "thing", Namespaced: true, Kind: "Thing", Verbs: metav1.Verbs{"get", "list", "watch", "delete", "patch"},
		}}})
	case req.URL.Query().Get("watch") != "":
		s.watch(w, req)
	case req.Method == http.MethodGet && len(parts) < 4:
		s.mu.Lock()
		defer s.mu.Unlock()
		list := metav1.PartialObjectMetadataList{TypeMeta: metav1.TypeMeta{APIVersion: "meta.k8s.io/v1", Kind: "PartialObjectMetadataList"}}
		list.ResourceVersion = fmt.Sprint(s.revision)
		for key, o := range s.objs {
			if len(parts) == 1 || parts[1] == key.Namespace {
				list.Items = append(list.Items, *o)
			}
		}
		_ = json.NewEncoder(w).Encode(list)
	default:
		s.one(w, req, types.NamespacedName{Namespace: parts[1], Name: parts[3]})
	}
}

// one serves an object: all that the tests do to it is to read and to delete it.
func (s *things) one(w http.ResponseWriter, req *http.Request, key types.NamespacedName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.objs[key]
	if o == nil {
		w.WriteHeader(http.StatusNotFound)
		_ = json.NewEncoder(w).Encode(metav1.Status{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: "Failure", Reason: metav1.StatusReasonNotFound, Code: 404})
		return
	}
	if req.Method == http.MethodDelete {
		s.store("DELETED", o)
	}
	_ = json.NewEncoder(w).Encode(o)
}

func (s *things) watch(w http.ResponseWriter, req *http.Request) {
	events := make(chan any, 100)
	s.mu.Lock()
	s.watchers[events] = true
	if req.URL.Query().Get("sendInitialEvents") != "" {
		for _, o := range s.objs {
			events <- map[string]any{"type": "ADDED", "object": o}
		}
		mark := &metav1.PartialObjectMetadata{
			TypeMeta:   metav1.TypeMeta{APIVersion: "meta.k8s.io/v1", Kind: "PartialObjectMetadata"},
			ObjectMeta: metav1.ObjectMeta{ResourceVersion: fmt.Sprint(s.revision), Annotations: map[string]string{metav1.InitialEventsAnnotationKey: "true"}},
		}
		events <- map[string]any{"type": "BOOKMARK", "object": mark}
	}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.watchers, events)
	}()
	control := http.NewResponseController(w)
	_ = control.Flush()
	for {
		select {
		case <-req.Context().Done():
			return
		case e := <-events:
			_ = json.NewEncoder(w).Encode(e)
			_ = control.Flush()
		}
	}
}

func newThing(ns, name string, owners ...ctrlclient.Object) *metav1.PartialObjectMetadata {
	o := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name, UID: types.UID("uid-" + name)}}
	for _, owner := range owners {
		gvk := owner.GetObjectKind().GroupVersionKind()
		if gvk.Empty() {
			gvk = corev1.SchemeGroupVersion.WithKind("ConfigMap")
		}
		o.OwnerReferences = append(o.OwnerReferences, metav1.OwnerReference{APIVersion: gvk.GroupVersion().String(), Kind: gvk.Kind, Name: owner.GetName(), UID: owner.GetUID()})
	}
	return o
}

// TestAggregatedKinds: what another API server serves is collected with its owners and deleted with its namespace, and holds the
// namespace while that server is away.
func TestAggregatedKinds(t *testing.T) {
	s := &things{objs: map[types.NamespacedName]*metav1.PartialObjectMetadata{}, watchers: map[chan any]bool{}, changed: make(chan struct{})}
	web := httptest.NewTLSServer(s)
	t.Cleanup(web.Close)
	c := start(t)
	t.Cleanup(web.CloseClientConnections)
	c.backend = web.Listener.Addr().String()
	c.namespace("things")
	owner := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "things", Name: "owner"}}
	c.must(c.Create(c.ctx, owner))
	s.put(newThing("things", "owned", owner))
	s.put(newThing("things", "kept"))
	s.put(newThing("things", "lost", &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "gone", UID: "gone"}}))

	slice := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: "default", Name: "things", Labels: map[string]string{discoveryv1.LabelServiceName: "things"}},
		AddressType: discoveryv1.AddressTypeIPv4, Ports: []discoveryv1.EndpointPort{{Name: new(""), Port: new(int32(443))}},
		Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"192.0.2.9"}}},
	}
	c.must(c.Create(c.ctx, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "things"}, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 443}}}}))
	c.must(c.Create(c.ctx, slice.DeepCopy()))
	c.must(c.Create(c.ctx, &apiregistrationv1.APIService{
		ObjectMeta: metav1.ObjectMeta{Name: "v1.things.example.com"},
		Spec: apiregistrationv1.APIServiceSpec{
			Group: "things.example.com", Version: "v1", GroupPriorityMinimum: 100, VersionPriority: 100, InsecureSkipTLSVerify: true,
			Service: &apiregistrationv1.ServiceReference{Namespace: "default", Name: "things"},
		},
	}))
	c.available("v1.things.example.com", "True Passed")
	s.until(c, "kept owned")

	c.must(c.Delete(c.ctx, owner))
	s.until(c, "kept")

	kept := newThing("things", "kept")
	kept.SetGroupVersionKind(thing)
	dependent := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "things", Name: "dependent", OwnerReferences: newThing("", "", kept).OwnerReferences}}
	c.must(c.Create(c.ctx, dependent))
	c.must(c.Client.Delete(c.ctx, kept))
	until(c, &corev1.ConfigMapList{}, "things", func(l *corev1.ConfigMapList) string {
		return want("dependents of what was there", slices.ContainsFunc(l.Items, func(m corev1.ConfigMap) bool { return m.Name == "dependent" }), false)
	})

	s.put(newThing("things", "last"))
	c.must(c.Delete(c.ctx, slice.DeepCopy()))
	c.available("v1.things.example.com", "False EndpointsNotFound")
	c.must(c.Delete(c.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "things"}}))
	until(c, &corev1.NamespaceList{}, "", func(l *corev1.NamespaceList) string {
		for _, ns := range l.Items {
			for _, cond := range ns.Status.Conditions {
				if ns.Name == "things" && cond.Type == corev1.NamespaceDeletionDiscoveryFailure && cond.Status == corev1.ConditionTrue {
					return want("reason", cond.Reason+": "+cond.Message, "DiscoveryFailed: Discovery failed for some groups, 1 failing: "+
						"unable to retrieve the complete list of server APIs: things.example.com/v1: stale GroupVersion discovery: things.example.com/v1")
				}
			}
		}
		return "the namespace does not say that a server is away"
	})
	c.must(c.Create(c.ctx, slice.DeepCopy()))
	until(c, &corev1.NamespaceList{}, "", func(l *corev1.NamespaceList) string {
		return want("the namespace is there", slices.ContainsFunc(l.Items, func(ns corev1.Namespace) bool { return ns.Name == "things" }), false)
	})
	if left := s.names(); left != "" {
		t.Errorf("left are %s", left)
	}
}
