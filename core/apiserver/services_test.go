package apiserver

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

func TestEndpointOf(t *testing.T) {
	svc := &corev1.Service{Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{
		{Name: "web", Port: 443}, {Name: "dns", Port: 53, Protocol: corev1.ProtocolUDP},
	}}}
	slice := &discoveryv1.EndpointSlice{
		Ports: []discoveryv1.EndpointPort{{Name: new("dns"), Port: new(int32(5353))}, {Name: new("web"), Port: new(int32(9443))}},
		Endpoints: []discoveryv1.Endpoint{
			{Addresses: []string{"10.0.0.1"}, Conditions: discoveryv1.EndpointConditions{Ready: new(false)}},
			{Addresses: []string{"10.0.0.2"}, Conditions: discoveryv1.EndpointConditions{Ready: new(true)}},
		},
	}
	outside := &corev1.Service{Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "hook.example.com"}}
	for _, tc := range []struct {
		name   string
		svc    *corev1.Service
		slices []*discoveryv1.EndpointSlice
		port   int32
		want   string
	}{
		{"the ready one", svc, []*discoveryv1.EndpointSlice{slice}, 443, "10.0.0.2:9443"},
		{"no such port", svc, []*discoveryv1.EndpointSlice{slice}, 80, ""},
		{"not over TCP", svc, []*discoveryv1.EndpointSlice{slice}, 53, ""},
		{"no endpoints", svc, nil, 443, ""},
		{"elsewhere", outside, nil, 8443, "hook.example.com:8443"},
	} {
		got, err := endpointOf(tc.svc, tc.slices, tc.port)
		if got != tc.want || (err == nil) != (tc.want != "") {
			t.Errorf("%s: %q, %v, want %q", tc.name, got, err, tc.want)
		}
	}
}
