package service

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gantryio/gantry/interfaces/service"
)

func ptr[T any](v T) *T { return &v }

func object(change func(*corev1.Service)) corev1.Service {
	s := corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"},
		Spec: corev1.ServiceSpec{
			ClusterIP: "10.96.0.1", ClusterIPs: []string{"10.96.0.1"},
			Ports: []corev1.ServicePort{{Name: "http", Port: 80, NodePort: 30080}},
		},
	}
	if change != nil {
		change(&s)
	}
	return s
}

// endpoint has the conditions ready, serving and terminating.
func endpoint(address, node string, ready, serving, terminating bool) discoveryv1.Endpoint {
	return discoveryv1.Endpoint{
		Addresses: []string{address}, NodeName: ptr(node),
		Conditions: discoveryv1.EndpointConditions{Ready: ptr(ready), Serving: ptr(serving), Terminating: ptr(terminating)},
	}
}

func slice(all ...discoveryv1.Endpoint) discoveryv1.EndpointSlice {
	return discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: "default", Labels: map[string]string{discoveryv1.LabelServiceName: "web"}},
		AddressType: discoveryv1.AddressTypeIPv4, Endpoints: all,
		Ports: []discoveryv1.EndpointPort{{Name: ptr("http"), Port: ptr(int32(8080))}, {Name: ptr("other"), Port: ptr(int32(9090))}},
	}
}

func at(address string, local bool) service.Endpoint {
	return service.Endpoint{Address: netip.MustParseAddr(address), Port: 8080, Local: local}
}

func TestEndpoints(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*corev1.Service)
		slices []discoveryv1.EndpointSlice
		want   []service.Endpoint
	}{
		{name: "none"},
		{
			name: "ready ones in order, from all slices, once",
			slices: []discoveryv1.EndpointSlice{
				slice(endpoint("10.0.0.3", "b", true, true, false), endpoint("10.0.0.2", "a", true, true, false)),
				slice(endpoint("10.0.0.2", "a", true, true, false), endpoint("10.0.0.1", "a", false, false, false)),
			},
			want: []service.Endpoint{at("10.0.0.2", true), at("10.0.0.3", false)},
		},
		{
			name: "no conditions means ready",
			slices: []discoveryv1.EndpointSlice{
				slice(discoveryv1.Endpoint{Addresses: []string{"10.0.0.1"}}),
			},
			want: []service.Endpoint{at("10.0.0.1", false)},
		},
		{
			name:   "an ending one is not used while another is ready",
			slices: []discoveryv1.EndpointSlice{slice(endpoint("10.0.0.1", "a", false, true, true), endpoint("10.0.0.2", "a", true, true, false))},
			want:   []service.Endpoint{at("10.0.0.2", true)},
		},
		{
			name:   "ending ones that serve are better than none",
			slices: []discoveryv1.EndpointSlice{slice(endpoint("10.0.0.1", "a", false, true, true), endpoint("10.0.0.2", "a", false, false, true))},
			want:   []service.Endpoint{at("10.0.0.1", true)},
		},
		{
			name:   "with a local policy an ending local one is used beside a ready one elsewhere",
			change: func(s *corev1.Service) { s.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal },
			slices: []discoveryv1.EndpointSlice{slice(endpoint("10.0.0.1", "a", false, true, true), endpoint("10.0.0.2", "b", true, true, false))},
			want:   []service.Endpoint{at("10.0.0.1", true), at("10.0.0.2", false)},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := model([]corev1.Service{object(test.change)}, test.slices, "a")
			if diff := cmp.Diff(test.want, got[0].Ports[0].Endpoints, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
				t.Errorf("endpoints differ (-want +got):\n%s", diff)
			}
		})
	}
}

func TestServices(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*corev1.Service)
		check  func(service.Service) bool
		none   bool
	}{
		{name: "plain", check: func(s service.Service) bool {
			p := s.Ports[0]
			return p.Port == 80 && p.NodePort == 30080 && p.Protocol == "TCP" && s.AffinitySeconds == 0 && !s.ExternalLocal
		}},
		{name: "headless", change: func(s *corev1.Service) { s.Spec.ClusterIP, s.Spec.ClusterIPs = "None", []string{"None"} }, none: true},
		{name: "external name", change: func(s *corev1.Service) { s.Spec.Type = corev1.ServiceTypeExternalName }, none: true},
		{name: "another proxy's", change: func(s *corev1.Service) { s.Labels = map[string]string{otherProxy: "x"} }, none: true},
		{
			name:   "affinity by default",
			change: func(s *corev1.Service) { s.Spec.SessionAffinity = corev1.ServiceAffinityClientIP },
			check:  func(s service.Service) bool { return s.AffinitySeconds == 10800 },
		},
		{
			name: "affinity for a time",
			change: func(s *corev1.Service) {
				s.Spec.SessionAffinity = corev1.ServiceAffinityClientIP
				s.Spec.SessionAffinityConfig = &corev1.SessionAffinityConfig{ClientIP: &corev1.ClientIPConfig{TimeoutSeconds: ptr(int32(7))}}
			},
			check: func(s service.Service) bool { return s.AffinitySeconds == 7 },
		},
		{
			name: "load balancer",
			change: func(s *corev1.Service) {
				s.Spec.ExternalIPs = []string{"192.0.2.1"}
				s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "192.0.2.2"}, {IP: "192.0.2.3", IPMode: ptr(corev1.LoadBalancerIPModeProxy)}}
			},
			check: func(s service.Service) bool {
				return len(s.ExternalIPs) == 2 && s.ExternalIPs[1] == netip.MustParseAddr("192.0.2.2")
			},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := model([]corev1.Service{object(test.change)}, nil, "a")
			if test.none != (len(got) == 0) {
				t.Fatalf("model is %v", got)
			}
			if !test.none && !test.check(got[0]) {
				t.Errorf("service is %+v", got[0])
			}
		})
	}
}
