package apiservice

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"

	"github.com/gantryio/gantry/core/api/apiregistration"
)

func TestJudge(t *testing.T) {
	s := &apiregistrationv1.APIService{Spec: apiregistrationv1.APIServiceSpec{
		Service: &apiregistrationv1.ServiceReference{Namespace: "x", Name: "b", Port: new(int32(443))},
	}}
	svc := func(kind corev1.ServiceType, port int32) *corev1.Service {
		return &corev1.Service{Spec: corev1.ServiceSpec{Type: kind, Ports: []corev1.ServicePort{{Name: "https", Port: port}}}}
	}
	slice := func(port string, ready *bool) []discoveryv1.EndpointSlice {
		return []discoveryv1.EndpointSlice{{
			Ports:     []discoveryv1.EndpointPort{{Name: &port, Port: new(int32(8443))}},
			Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"192.0.2.1"}, Conditions: discoveryv1.EndpointConditions{Ready: ready}}},
		}}
	}
	cluster := corev1.ServiceTypeClusterIP
	for _, tc := range []struct {
		name   string
		svc    *corev1.Service
		slices []discoveryv1.EndpointSlice
		want   string
	}{
		{"nothing there", nil, nil, "ServiceNotFound"},
		{"another port", svc(cluster, 80), slice("https", nil), "ServicePortError"},
		{"no slices", svc(cluster, 443), nil, "EndpointsNotFound"},
		{"none ready", svc(cluster, 443), slice("https", new(false)), "MissingEndpoints"},
		{"another port's slice", svc(cluster, 443), slice("http", nil), "MissingEndpoints"},
		{"ready", svc(cluster, 443), slice("https", new(true)), "Passed"},
		{"readiness not told", svc(cluster, 443), slice("https", nil), "Passed"},
		{"somewhere else", svc(corev1.ServiceTypeExternalName, 80), nil, "Passed"},
	} {
		if got := judge(s, tc.svc, tc.slices); got.reason != tc.want || (got == passed) != (tc.want == "Passed") || got.message == "" {
			t.Errorf("%s: %+v, want %s", tc.name, got, tc.want)
		}
	}
}

func TestRegister(t *testing.T) {
	gv := schema.GroupVersion{Group: "g", Version: "v1"}
	local := func(managed string, priority int32) *apiregistrationv1.APIService {
		return apiregistration.Local(gv, apiregistration.Priority{Group: priority, Version: 1}, managed)
	}
	const onStart, always = apiregistration.ManagedOnStart, apiregistration.ManagedAlways
	for _, tc := range []struct {
		name       string
		want, have *apiregistrationv1.APIService
		looked     bool
		do         change
	}{
		{"nothing", nil, nil, false, leave},
		{"built in and missing", local(onStart, 1), nil, false, create},
		{"built in and deleted by somebody", local(onStart, 1), nil, true, leave},
		{"built in and changed by a later version", local(onStart, 2), local(onStart, 1), false, update},
		{"built in and changed by somebody", local(onStart, 2), local(onStart, 1), true, leave},
		{"no longer built in", nil, local(onStart, 1), false, remove},
		{"somebody's", local(onStart, 2), local("", 1), false, leave},
		{"somebody's alone", nil, local("", 1), false, leave},
		{"defined", local(always, 1), nil, true, create},
		{"defined and there", local(always, 1), local(always, 1), true, leave},
		{"defined and changed", local(always, 1), local(always, 2), true, update},
		{"no longer defined", nil, local(always, 1), true, remove},
		{"computed and deleted", local("", 1), nil, true, create},
		{"computed and replaced", local("", 1), local("", 2), true, leave},
	} {
		if got := register(tc.want, tc.have, tc.looked); got != tc.do {
			t.Errorf("%s: %d, want %d", tc.name, got, tc.do)
		}
	}
}
