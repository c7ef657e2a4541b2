package publish

import (
	"context"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

var (
	now  = time.Unix(1700000000, 0)
	here = self{address: netip.MustParseAddrPort("10.0.0.1:10053"), node: "a"}
)

const mine, theirs = "kube-dns-10-0-0-1-10053", "kube-dns-10-0-0-2-10053"

func made() *corev1.Service {
	s := service(10053)
	s.UID, s.Spec.ClusterIP = "u", "10.96.0.10"
	return s
}

func sliceAt(address string) *discoveryv1.EndpointSlice {
	return endpoint(self{address: netip.MustParseAddrPort(address), node: "a"}, made())
}

func TestPlan(t *testing.T) {
	type want struct {
		Create, Update, Renew, Put, Foreign bool
		RemoveSlices, RemoveLeases          []string
		Wake                                time.Duration
	}
	alone := here
	alone.alone = true
	leases := func(names ...string) map[string]*coordinationv1.Lease {
		out := map[string]*coordinationv1.Lease{}
		for _, n := range names {
			out[n] = &coordinationv1.Lease{}
		}
		return out
	}
	seen := func(age time.Duration) map[string]time.Time {
		return map[string]time.Time{theirs: now.Add(-age), mine: now}
	}
	others := made()
	others.Labels = map[string]string{"k8s-app": "kube-dns"}
	others.Spec.Selector = map[string]string{"k8s-app": "kube-dns"}
	damaged := made()
	damaged.Spec.Ports = damaged.Spec.Ports[:1]
	elsewhere := made()
	elsewhere.Spec.Ports = service(5353).Spec.Ports
	changed := sliceAt("10.0.0.1:10053")
	changed.Endpoints[0].Conditions.Ready = new(false)
	reborn := sliceAt("10.0.0.1:10053")
	reborn.OwnerReferences[0].UID = "before"
	for _, test := range []struct {
		name string
		me   self
		have state
		want want
	}{
		{"nothing is there", alone, state{}, want{Create: true}},
		{"the first start", alone, state{service: made()}, want{Put: true}},
		{"all is well", alone, state{service: made(), slices: []*discoveryv1.EndpointSlice{sliceAt("10.0.0.1:10053")}}, want{}},
		{"somebody has changed the slice", alone, state{service: made(), slices: []*discoveryv1.EndpointSlice{changed}}, want{Put: true}},
		{"the service was made anew", alone, state{service: made(), slices: []*discoveryv1.EndpointSlice{reborn}}, want{Put: true}},
		{"somebody has changed the service", alone, state{service: damaged, slices: []*discoveryv1.EndpointSlice{sliceAt("10.0.0.1:10053")}}, want{Update: true}},
		{"the service leads to another server's port", alone, state{service: elsewhere, slices: []*discoveryv1.EndpointSlice{sliceAt("10.0.0.1:10053")}}, want{}},
		{"the server has moved", alone, state{
			service: made(), slices: []*discoveryv1.EndpointSlice{sliceAt("10.0.0.1:10053"), sliceAt("10.0.0.2:10053")}, leases: leases(theirs), seen: seen(0),
		}, want{RemoveSlices: []string{theirs}, RemoveLeases: []string{theirs}}},
		{"the service is somebody else's", alone, state{service: others, slices: []*discoveryv1.EndpointSlice{sliceAt("10.0.0.1:10053")}}, want{Foreign: true, RemoveSlices: []string{mine}}},
		{"another server lives", here, state{
			service: made(), slices: []*discoveryv1.EndpointSlice{sliceAt("10.0.0.2:10053")}, leases: leases(theirs), seen: seen(14 * time.Second), renewed: now.Add(-time.Second),
		}, want{Put: true, Wake: time.Second}},
		{"another server has died", here, state{
			service: made(), slices: []*discoveryv1.EndpointSlice{sliceAt("10.0.0.1:10053"), sliceAt("10.0.0.2:10053")},
			leases: leases(mine, theirs), seen: seen(leaseDuration), renewed: now,
		}, want{RemoveSlices: []string{theirs}, RemoveLeases: []string{theirs}, Wake: renewal}},
		{
			"another server has left half of it", here,
			state{service: made(), slices: []*discoveryv1.EndpointSlice{sliceAt("10.0.0.1:10053"), sliceAt("10.0.0.2:10053")}, renewed: now},
			want{RemoveSlices: []string{theirs}, Wake: renewal},
		},
		{"it is time to show life", here, state{
			service: made(), slices: []*discoveryv1.EndpointSlice{sliceAt("10.0.0.1:10053")}, leases: leases(mine), seen: seen(0), renewed: now.Add(-renewal),
		}, want{Renew: true, Wake: renewal}},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := plan(test.me, test.have, now)
			got := want{a.create != nil, a.update != nil, a.renew, a.put != nil, a.foreign, nil, a.removeLeases, a.wake}
			for _, s := range a.removeSlices {
				got.RemoveSlices = append(got.RemoveSlices, s.Name)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func publisher(c client.Client, address string, alone bool, clock *time.Time) *Publisher {
	return &Publisher{
		Client: c, Address: netip.MustParseAddrPort(address), ClusterIP: netip.MustParseAddr("10.96.0.10"), Alone: alone, Now: func() time.Time { return *clock },
	}
}

func names(t *testing.T, c client.Client) []string {
	t.Helper()
	var list discoveryv1.EndpointSliceList
	if err := c.List(t.Context(), &list); err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, s := range list.Items {
		out = append(out, s.Name)
	}
	slices.Sort(out)
	return out
}

func rounds(t *testing.T, all ...*Publisher) {
	t.Helper()
	for range 3 {
		for _, p := range all {
			if _, err := p.once(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// Two servers are published; one that dies is withdrawn when its lease has not been renewed for long enough, one that ends at once.
func TestSeveralServers(t *testing.T) {
	clock := now
	c := fake.NewClientBuilder().WithScheme(scheme.Scheme).Build()
	one, two := publisher(c, "10.0.0.1:10053", false, &clock), publisher(c, "10.0.0.2:10053", false, &clock)
	rounds(t, one, two)
	if diff := cmp.Diff([]string{mine, theirs}, names(t, c)); diff != "" {
		t.Fatal(diff)
	}
	for range 2 {
		clock = clock.Add(renewal)
		rounds(t, one)
	}
	if diff := cmp.Diff([]string{mine, theirs}, names(t, c)); diff != "" {
		t.Errorf("withdrawn too early: %s", diff)
	}
	clock = clock.Add(renewal)
	rounds(t, one)
	if diff := cmp.Diff([]string{mine}, names(t, c)); diff != "" {
		t.Errorf("the dead one is there: %s", diff)
	}
	rounds(t, two)
	one.leave(t.Context())
	if diff := cmp.Diff([]string{theirs}, names(t, c)); diff != "" {
		t.Errorf("the one that has ended is there: %s", diff)
	}
	if err := one.Withdraw(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(service(1)), &corev1.Service{}); err != nil {
		t.Errorf("the service of another server is gone: %v", err)
	}
	if err := two.Withdraw(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(service(1)), &corev1.Service{}); !apierrors.IsNotFound(err) {
		t.Errorf("the service is left: %v", err)
	}
}

// The usual address is another service's.
func TestTakenAddress(t *testing.T) {
	c := fake.NewClientBuilder().WithScheme(scheme.Scheme).WithInterceptorFuncs(interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			if s, ok := o.(*corev1.Service); ok && s.Spec.ClusterIP == "10.96.0.10" {
				return apierrors.NewInvalid(schema.GroupKind{Kind: "Service"}, s.Name, nil)
			}
			return c.Create(ctx, o, opts...)
		},
	}).Build()
	clock := now
	rounds(t, publisher(c, "10.0.0.1:10053", true, &clock))
	if diff := cmp.Diff([]string{mine}, names(t, c)); diff != "" {
		t.Error(diff)
	}
}

// What somebody else has made is neither changed nor removed.
func TestForeignService(t *testing.T) {
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "kube-dns"}, Spec: corev1.ServiceSpec{Selector: map[string]string{"a": "b"}}}
	c := fake.NewClientBuilder().WithScheme(scheme.Scheme).WithObjects(svc).Build()
	clock := now
	p := publisher(c, "10.0.0.1:10053", true, &clock)
	rounds(t, p)
	if err := p.Withdraw(t.Context()); err != nil {
		t.Fatal(err)
	}
	have := &corev1.Service{}
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(svc), have); err != nil || len(have.Spec.Selector) != 1 || len(names(t, c)) > 0 {
		t.Errorf("%v %v %v", err, have, names(t, c))
	}
}
