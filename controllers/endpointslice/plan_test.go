package endpointslice

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/gantryio/gantry/core/client/owner/ownertest"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func service(edits ...func(*corev1.Service)) *corev1.Service {
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web", UID: "svc", Labels: map[string]string{"team": "x"}},
		Spec: corev1.ServiceSpec{
			ClusterIP: "10.96.0.7", Selector: map[string]string{"app": "web"}, IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol},
			Ports: []corev1.ServicePort{{Name: "http", Port: 80, Protocol: corev1.ProtocolTCP, TargetPort: intstr.FromString("web")}},
		},
	}
	for _, e := range edits {
		e(s)
	}
	return s
}

func pod(name, ip string, edits ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: types.UID(name), Labels: map[string]string{"app": "web"}},
		Spec:       corev1.PodSpec{NodeName: "n1", Containers: []corev1.Container{{Ports: []corev1.ContainerPort{{Name: "web", ContainerPort: 8080, Protocol: corev1.ProtocolTCP}}}}},
		Status: corev1.PodStatus{PodIP: ip, PodIPs: []corev1.PodIP{{IP: ip}}, Conditions: []corev1.PodCondition{{
			Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(start),
		}}},
	}
	for _, e := range edits {
		e(p)
	}
	return p
}

func unready(p *corev1.Pod) { p.Status.Conditions[0].Status = corev1.ConditionFalse }
func dying(p *corev1.Pod)   { p.DeletionTimestamp = &metav1.Time{Time: start} }
func done(p *corev1.Pod)    { p.Status.Phase = corev1.PodSucceeded }
func publish(s *corev1.Service) {
	s.Spec.PublishNotReadyAddresses = true
}

// text shows groups as "IPv4 http:8080 1.1.1.1(ready,serving,terminating)".
func text(groups []group) []string {
	var out []string
	for _, g := range groups {
		parts := []string{string(g.family)}
		for _, p := range g.ports {
			parts = append(parts, fmt.Sprintf("%s:%d", *p.Name, *p.Port))
		}
		for _, e := range g.endpoints {
			var is []string
			for _, c := range []struct {
				on   *bool
				name string
			}{{e.Conditions.Ready, "ready"}, {e.Conditions.Serving, "serving"}, {e.Conditions.Terminating, "terminating"}} {
				if *c.on {
					is = append(is, c.name)
				}
			}
			parts = append(parts, e.Addresses[0]+"("+strings.Join(is, ",")+")")
		}
		out = append(out, strings.Join(parts, " "))
	}
	return out
}

func TestGroups(t *testing.T) {
	for _, tc := range []struct {
		name string
		svc  *corev1.Service
		pods []*corev1.Pod
		want []string
	}{
		{"none", service(), nil, []string{"IPv4"}},
		{
			"states", service(),
			[]*corev1.Pod{pod("a", "1.1.1.1"), pod("b", "1.1.1.2", unready), pod("c", "1.1.1.3", dying), pod("d", "1.1.1.4", done), pod("e", "")},
			[]string{"IPv4 http:8080 1.1.1.1(ready,serving) 1.1.1.2() 1.1.1.3(serving,terminating)"},
		},
		{"not ready ones are published", service(publish), []*corev1.Pod{pod("b", "1.1.1.2", unready)}, []string{"IPv4 http:8080 1.1.1.2(ready)"}},
		{
			"ports that differ", service(),
			[]*corev1.Pod{pod("a", "1.1.1.1"), pod("b", "1.1.1.2", func(p *corev1.Pod) { p.Spec.Containers[0].Ports[0].ContainerPort = 9090 })},
			[]string{"IPv4 http:8080 1.1.1.1(ready,serving)", "IPv4 http:9090 1.1.1.2(ready,serving)"},
		},
		{"a port that the pod has not", service(), []*corev1.Pod{pod("a", "1.1.1.1", func(p *corev1.Pod) { p.Spec.Containers = nil })}, []string{"IPv4 1.1.1.1(ready,serving)"}},
		{
			"two families", service(func(s *corev1.Service) {
				s.Spec.IPFamilies = []corev1.IPFamily{corev1.IPv6Protocol, corev1.IPv4Protocol}
			}),
			[]*corev1.Pod{pod("a", "1.1.1.1", func(p *corev1.Pod) { p.Status.PodIPs = append(p.Status.PodIPs, corev1.PodIP{IP: "fd00::1"}) })},
			[]string{"IPv6 http:8080 fd00::1(ready,serving)", "IPv4 http:8080 1.1.1.1(ready,serving)"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, text(groupsOf(tc.svc, tc.pods, nil))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestEndpointDetails(t *testing.T) {
	p := pod("a", "1.1.1.1", func(p *corev1.Pod) { p.Spec.Hostname, p.Spec.Subdomain = "db-0", "web" })
	e := groupsOf(service(), []*corev1.Pod{p}, map[string]string{"n1": "east"})[0].endpoints[0]
	want := discoveryv1.Endpoint{
		Addresses: []string{"1.1.1.1"}, Hostname: new("db-0"), NodeName: new("n1"), Zone: new("east"),
		Conditions: discoveryv1.EndpointConditions{Ready: new(true), Serving: new(true), Terminating: new(false)},
		TargetRef:  &corev1.ObjectReference{Kind: "Pod", Namespace: "default", Name: "a", UID: "a"},
	}
	if diff := cmp.Diff(want, e); diff != "" {
		t.Error(diff)
	}
}

// store applies plans as the API would.
type store struct {
	slices []*discoveryv1.EndpointSlice
	made   int
	writes int
}

func (s *store) apply(p plan) {
	s.writes = len(p.Create) + len(p.Update) + len(p.Remove)
	for _, x := range p.Create {
		s.made++
		x.Name = fmt.Sprintf("web-%03d", s.made)
		s.slices = append(s.slices, x)
	}
	for _, x := range p.Update {
		for i := range s.slices {
			if s.slices[i].Name == x.Name {
				s.slices[i] = x
			}
		}
	}
	var kept []*discoveryv1.EndpointSlice
	for _, x := range s.slices {
		gone := false
		for _, r := range p.Remove {
			gone = gone || r.Name == x.Name
		}
		if !gone {
			kept = append(kept, x)
		}
	}
	s.slices = kept
}

// Whatever pods come and go, the slices say exactly what is wanted, none is too big, and a second look
// writes nothing.
func TestDecideConverges(t *testing.T) {
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 5))
		s, svc := &store{}, service()
		for range 12 {
			var pods []*corev1.Pod
			for i := range 260 {
				if rng.IntN(3) > 0 {
					pods = append(pods, pod(fmt.Sprintf("p%03d", i), fmt.Sprintf("10.0.%d.%d", i/200, i%200), func(p *corev1.Pod) {
						if rng.IntN(4) == 0 {
							unready(p)
						}
						if i%5 == 0 {
							p.Spec.Containers[0].Ports[0].ContainerPort = 9090
						}
					}))
				}
			}
			if rng.IntN(5) == 0 {
				pods = nil
			}
			groups := groupsOf(svc, pods, nil)
			s.apply(decide(svc, s.slices, groups))
			want, got := map[string]string{}, map[string]string{}
			for _, g := range groups {
				for _, e := range g.endpoints {
					want[e.Addresses[0]] = fmt.Sprint(*g.ports[0].Port, *e.Conditions.Ready)
				}
			}
			for _, x := range s.slices {
				if len(x.Endpoints) > maxEndpoints {
					t.Fatalf("seed %d: %d endpoints in a slice", seed, len(x.Endpoints))
				}
				for _, e := range x.Endpoints {
					if _, twice := got[e.Addresses[0]]; twice {
						t.Fatalf("seed %d: %s is there twice", seed, e.Addresses[0])
					}
					got[e.Addresses[0]] = fmt.Sprint(*x.Ports[0].Port, *e.Conditions.Ready)
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("seed %d: %s", seed, diff)
			}
			if len(s.slices) == 0 {
				t.Fatalf("seed %d: not even an empty slice", seed)
			}
			if s.apply(decide(svc, s.slices, groups)); s.writes != 0 {
				t.Fatalf("seed %d: a second look writes %d slices", seed, s.writes)
			}
		}
	}
}

func TestFewWrites(t *testing.T) {
	s, svc := &store{}, service()
	var pods []*corev1.Pod
	for i := range 250 {
		pods = append(pods, pod(fmt.Sprintf("p%03d", i), fmt.Sprintf("10.0.%d.%d", i/200, i%200)))
	}
	s.apply(decide(svc, nil, groupsOf(svc, pods, nil)))
	if s.writes != 3 {
		t.Errorf("250 pods make %d writes, want 3", s.writes)
	}
	// One goes and another comes: both in one slice.
	pods = append(pods[1:], pod("new", "10.0.9.9"))
	s.apply(decide(svc, s.slices, groupsOf(svc, pods, nil)))
	if s.writes != 1 {
		t.Errorf("one exchange makes %d writes, want 1", s.writes)
	}
}

func TestReconcile(t *testing.T) {
	foreign := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "mine", Labels: map[string]string{discoveryv1.LabelServiceName: "web"}}, AddressType: discoveryv1.AddressTypeIPv4}
	svc := service(func(s *corev1.Service) { s.Spec.ClusterIP = corev1.ClusterIPNone })
	api := fake.NewClientBuilder().WithScheme(scheme.Scheme).
		WithObjects(svc, foreign, pod("a", "1.1.1.1"), pod("b", "1.1.1.2", unready), pod("c", "1.1.1.3", func(p *corev1.Pod) { p.Labels["app"] = "other" })).
		WithIndex(&corev1.Pod{}, podsByLabel, byLabels).WithIndex(&discoveryv1.EndpointSlice{}, slicesByService, byService).Build()
	c := &Controller{Client: api, Live: api, Recorder: record.NewFakeRecorder(10), Clock: func() time.Time { return start }}
	request := reconcile.Request{NamespacedName: client.ObjectKeyFromObject(svc)}
	for range 2 {
		if _, err := c.Reconcile(t.Context(), request); err != nil {
			t.Fatal(err)
		}
	}
	var list discoveryv1.EndpointSliceList
	if err := api.List(t.Context(), &list, client.MatchingLabels{discoveryv1.LabelManagedBy: sliceManager}); err != nil {
		t.Fatal(err)
	}
	if len(list.Items) != 1 {
		t.Fatalf("%d slices", len(list.Items))
	}
	s := list.Items[0]
	wantLabels := map[string]string{"team": "x", corev1.IsHeadlessService: "", discoveryv1.LabelServiceName: "web", discoveryv1.LabelManagedBy: sliceManager}
	if diff := cmp.Diff(wantLabels, s.Labels); diff != "" || len(s.Endpoints) != 2 || !metav1.IsControlledBy(&s, svc) {
		t.Errorf("%s, endpoints %+v", diff, s.Endpoints)
	}
	if got := s.Annotations[corev1.EndpointsLastChangeTriggerTime]; got != "2026-03-01T12:00:00Z" {
		t.Errorf("trigger time is %q", got)
	}
	//lint:ignore SA1019 clients that know nothing newer read it
	var e corev1.Endpoints
	if err := api.Get(t.Context(), request.NamespacedName, &e); err != nil {
		t.Fatal(err)
	}
	if len(e.Subsets) != 1 || e.Subsets[0].Addresses[0].IP != "1.1.1.1" || e.Subsets[0].NotReadyAddresses[0].IP != "1.1.1.2" || e.Subsets[0].Ports[0].Port != 8080 {
		t.Errorf("endpoints are %+v", e.Subsets)
	}
	if err := api.Delete(t.Context(), svc); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Reconcile(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	if err := api.Get(t.Context(), request.NamespacedName, &e); client.IgnoreNotFound(err) != nil || err == nil {
		t.Errorf("endpoints of a service that is gone: %v", err)
	}
}

func TestPodEvents(t *testing.T) {
	api := fake.NewClientBuilder().WithScheme(scheme.Scheme).WithObjects(service()).WithIndex(&corev1.Service{}, servicesBySelector, bySelector).Build()
	other := func(p *corev1.Pod) { p.Labels = map[string]string{"app": "other"} }
	annotated := func(p *corev1.Pod) { p.Annotations = map[string]string{"a": "b"} }
	for name, tc := range map[string]struct {
		api      client.Client
		old, now client.Object
		want     int
	}{
		"new":                          {api, nil, pod("a", "1.1.1.1"), 1},
		"gone":                         {api, pod("a", "1.1.1.1"), nil, 1},
		"new, not selected":            {api, nil, pod("a", "1.1.1.1", other), 0},
		"ready":                        {api, pod("a", "1.1.1.1", unready), pod("a", "1.1.1.1"), 1},
		"selected no longer":           {api, pod("a", "1.1.1.1"), pod("a", "1.1.1.1", other), 1},
		"nothing that shows":           {api, pod("a", "1.1.1.1"), pod("a", "1.1.1.1", annotated), 0},
		"no Services in its namespace": {ownertest.Nothing{}, nil, pod("a", "1.1.1.1"), 0},
	} {
		t.Run(name, func(t *testing.T) {
			q := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
			defer q.ShutDown()
			(&Controller{Client: tc.api}).podEvents()(t.Context(), tc.old, tc.now, q)
			if q.Len() != tc.want {
				t.Errorf("%d Services queued, want %d", q.Len(), tc.want)
			}
		})
	}
}
