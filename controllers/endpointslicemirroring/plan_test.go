//lint:file-ignore SA1019 Endpoints are what this controller is about

package endpointslicemirroring

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/record"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

func endpoints(subsets ...corev1.EndpointSubset) *corev1.Endpoints {
	return &corev1.Endpoints{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "default", Name: "db", UID: "ep", Labels: map[string]string{"team": "x"},
			Annotations: map[string]string{"note": "y", corev1.LastAppliedConfigAnnotation: "{}"},
		},
		Subsets: subsets,
	}
}

func service() *corev1.Service {
	return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "db"}}
}

func addresses(ips ...string) []corev1.EndpointAddress {
	var out []corev1.EndpointAddress
	for _, ip := range ips {
		out = append(out, corev1.EndpointAddress{IP: ip})
	}
	return out
}

func ports(named ...string) []corev1.EndpointPort {
	var out []corev1.EndpointPort
	for i, name := range named {
		out = append(out, corev1.EndpointPort{Name: name, Port: int32(5432 + i), Protocol: corev1.ProtocolTCP})
	}
	return out
}

// text shows a slice as "IPv4 sql:5432 10.0.0.1 10.0.0.2(not ready)".
func text(s *discoveryv1.EndpointSlice) string {
	out := string(s.AddressType)
	for _, p := range s.Ports {
		out += fmt.Sprintf(" %s:%d", *p.Name, *p.Port)
	}
	for _, e := range s.Endpoints {
		out += " " + e.Addresses[0]
		if !*e.Conditions.Ready {
			out += "(not ready)"
		}
	}
	return out
}

func TestMirror(t *testing.T) {
	many := make([]string, maxAddresses+1)
	for i := range many {
		many[i] = fmt.Sprintf("10.1.%d.%d", i/256, i%256)
	}
	for name, tc := range map[string]struct {
		in   *corev1.Endpoints
		want []string
	}{
		"nothing": {endpoints(), nil},
		"one subset": {
			endpoints(corev1.EndpointSubset{Addresses: addresses("10.0.0.2", "10.0.0.1"), NotReadyAddresses: addresses("10.0.0.3"), Ports: ports("sql")}),
			[]string{"IPv4 sql:5432 10.0.0.1 10.0.0.2 10.0.0.3(not ready)"},
		},
		"two families": {
			endpoints(corev1.EndpointSubset{Addresses: addresses("10.0.0.1", "fd00::1"), Ports: ports("sql")}),
			[]string{"IPv4 sql:5432 10.0.0.1", "IPv6 sql:5432 fd00::1"},
		},
		"other ports are another slice": {
			endpoints(corev1.EndpointSubset{Addresses: addresses("10.0.0.1"), Ports: ports("sql")}, corev1.EndpointSubset{Addresses: addresses("10.0.0.2"), Ports: ports("sql", "metrics")}),
			[]string{"IPv4 sql:5432 10.0.0.1", "IPv4 sql:5432 metrics:5433 10.0.0.2"},
		},
		"the same ports are one": {
			endpoints(corev1.EndpointSubset{Addresses: addresses("10.0.0.1"), Ports: ports("sql")}, corev1.EndpointSubset{Addresses: addresses("10.0.0.2"), Ports: ports("sql")}),
			[]string{"IPv4 sql:5432 10.0.0.1 10.0.0.2"},
		},
		"no addresses": {endpoints(corev1.EndpointSubset{Ports: ports("sql")}), nil},
	} {
		var got []string
		for _, s := range mirror(tc.in) {
			got = append(got, text(s))
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	got := mirror(endpoints(corev1.EndpointSubset{Addresses: addresses(many...), Ports: ports("sql")}))
	if n := len(got[0].Endpoints); len(got) != 1 || n != maxAddresses {
		t.Errorf("of %d addresses %d are in %d slices", len(many), n, len(got))
	}
	if diff := cmp.Diff(map[string]string{"team": "x", discoveryv1.LabelServiceName: "db", discoveryv1.LabelManagedBy: manages}, got[0].Labels); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{"note": "y"}, got[0].Annotations); diff != "" {
		t.Errorf("annotations (-want +got):\n%s", diff)
	}
}

func TestMirrored(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*corev1.Endpoints, *corev1.Service)
		want   bool
	}{
		"written by a user":    {func(*corev1.Endpoints, *corev1.Service) {}, true},
		"with a selector":      {func(_ *corev1.Endpoints, s *corev1.Service) { s.Spec.Selector = map[string]string{"a": "b"} }, false},
		"not to be mirrored":   {func(e *corev1.Endpoints, _ *corev1.Service) { e.Labels[discoveryv1.LabelSkipMirror] = "true" }, false},
		"a lock":               {func(e *corev1.Endpoints, _ *corev1.Service) { e.Annotations[elected] = "" }, false},
		"going":                {func(e *corev1.Endpoints, _ *corev1.Service) { e.DeletionTimestamp = &metav1.Time{} }, false},
		"of a leaving Service": {func(_ *corev1.Endpoints, s *corev1.Service) { s.DeletionTimestamp = &metav1.Time{} }, false},
	} {
		ep, svc := endpoints(), service()
		tc.change(ep, svc)
		if got := mirrored(ep, svc); got != tc.want {
			t.Errorf("%s: %t, want %t", name, got, tc.want)
		}
	}
	if mirrored(nil, service()) || mirrored(endpoints(), nil) {
		t.Error("one without the other is mirrored")
	}
}

// The slices follow Endpoints and Service, are changed in place and leave those of others alone.
func TestSlicesFollow(t *testing.T) {
	ctx := t.Context()
	foreign := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: "default", Name: "foreign", Labels: map[string]string{discoveryv1.LabelServiceName: "db"}},
		AddressType: discoveryv1.AddressTypeIPv4,
	}
	api := fake.NewClientBuilder().WithScheme(scheme.Scheme).WithObjects(foreign, service()).
		WithIndex(&discoveryv1.EndpointSlice{}, mirrorsByService, byService).Build()
	c := &Controller{Client: api, Live: api, Recorder: record.NewFakeRecorder(10)}
	follow := func(want ...string) []discoveryv1.EndpointSlice {
		t.Helper()
		for range 2 { // the second time there is nothing to do
			if _, err := c.Reconcile(ctx, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(service())}); err != nil {
				t.Fatal(err)
			}
		}
		var list discoveryv1.EndpointSliceList
		if err := api.List(ctx, &list); err != nil {
			t.Fatal(err)
		}
		var got []string
		list.Items = slices.DeleteFunc(list.Items, func(s discoveryv1.EndpointSlice) bool { return s.Name == "foreign" })
		for i := range list.Items {
			got = append(got, text(&list.Items[i]))
		}
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		return list.Items
	}
	follow()
	ep := endpoints(corev1.EndpointSubset{Addresses: addresses("10.0.0.1"), Ports: ports("sql")})
	if err := api.Create(ctx, ep); err != nil {
		t.Fatal(err)
	}
	first := follow("IPv4 sql:5432 10.0.0.1")
	ep.Subsets[0].Addresses = addresses("10.0.0.9")
	if err := api.Update(ctx, ep); err != nil {
		t.Fatal(err)
	}
	second := follow("IPv4 sql:5432 10.0.0.9")
	if first[0].Name != second[0].Name || !strings.HasPrefix(first[0].Name, "db-") || !metav1.IsControlledBy(&second[0], ep) {
		t.Errorf("%s became %s, owned by %v", first[0].Name, second[0].Name, second[0].OwnerReferences)
	}
	svc := service()
	if err := api.Get(ctx, client.ObjectKeyFromObject(svc), svc); err != nil {
		t.Fatal(err)
	}
	svc.Spec.Selector = map[string]string{"app": "db"}
	if err := api.Update(ctx, svc); err != nil {
		t.Fatal(err)
	}
	follow()
}
