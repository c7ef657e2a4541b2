package core

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func simpleService(change func(s *corev1.ServiceSpec)) *corev1.Service {
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "default"},
		Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}},
	}
	if change != nil {
		change(&s.Spec)
	}
	return s
}

func TestDefaultService(t *testing.T) {
	ports := []corev1.ServicePort{{Port: 80, Protocol: "TCP", TargetPort: intstr.FromInt32(80)}}
	for _, test := range []struct {
		name   string
		change func(s *corev1.ServiceSpec)
		want   corev1.ServiceSpec
	}{
		{"cluster", nil, corev1.ServiceSpec{
			Type: "ClusterIP", SessionAffinity: "None", Ports: ports, InternalTrafficPolicy: new(corev1.ServiceInternalTrafficPolicyCluster),
		}},
		{"balancer", func(s *corev1.ServiceSpec) { s.Type, s.SessionAffinity = "LoadBalancer", "ClientIP" }, corev1.ServiceSpec{
			Type: "LoadBalancer", SessionAffinity: "ClientIP", Ports: ports,
			SessionAffinityConfig: &corev1.SessionAffinityConfig{ClientIP: &corev1.ClientIPConfig{TimeoutSeconds: new(int32(10800))}},
			InternalTrafficPolicy: new(corev1.ServiceInternalTrafficPolicyCluster), ExternalTrafficPolicy: "Cluster",
			AllocateLoadBalancerNodePorts: new(true),
		}},
		{"external name", func(s *corev1.ServiceSpec) { s.Type, s.ExternalName = "ExternalName", "example.com" }, corev1.ServiceSpec{
			Type: "ExternalName", ExternalName: "example.com", SessionAffinity: "None", Ports: ports,
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := simpleService(test.change)
			defaultService(s)
			if diff := cmp.Diff(test.want, s.Spec); diff != "" {
				t.Errorf("defaults (-want +got):\n%s", diff)
			}
			checkRefusals(t, validateService(s, nil))
		})
	}
}

func TestValidateService(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(s *corev1.ServiceSpec)
		want   []string
	}{
		{"no ports", func(s *corev1.ServiceSpec) { s.Ports = nil }, []string{"spec.ports: Required value"}},
		{"headless without ports", func(s *corev1.ServiceSpec) { s.Ports, s.ClusterIP = nil, "None" }, nil},
		{"type", func(s *corev1.ServiceSpec) { s.Type = "Odd" }, []string{"spec.type: Unsupported value"}},
		{"port", func(s *corev1.ServiceSpec) {
			s.Ports = []corev1.ServicePort{{Port: 0, TargetPort: intstr.FromString("Bad_Name"), Protocol: "ICMP"}}
		}, []string{"spec.ports[0].port: Invalid value", "spec.ports[0].protocol: Unsupported value", "spec.ports[0].targetPort: Invalid value"}},
		{"names of several", func(s *corev1.ServiceSpec) {
			s.Ports = []corev1.ServicePort{{Port: 80}, {Name: "a", Port: 81}, {Name: "a", Port: 81}}
		}, []string{"spec.ports[0].name: Required value", "spec.ports[2].name: Duplicate value", "spec.ports[2]: Duplicate value"}},
		{"node port of a cluster service", func(s *corev1.ServiceSpec) { s.Ports[0].NodePort = 30000 }, []string{"spec.ports[0].nodePort: Forbidden"}},
		{"node port twice", func(s *corev1.ServiceSpec) {
			s.Type = "NodePort"
			s.Ports = []corev1.ServicePort{{Name: "a", Port: 80, NodePort: 30000}, {Name: "b", Port: 81, NodePort: 30000}}
		}, []string{"spec.ports[1].nodePort: Duplicate value"}},
		{"headless node port", func(s *corev1.ServiceSpec) { s.Type, s.ClusterIP = "NodePort", "None" }, []string{"spec.clusterIPs[0]: Invalid value"}},
		{"bad address", func(s *corev1.ServiceSpec) { s.ClusterIP = "10.0.0" }, []string{"spec.clusterIPs[0]: Invalid value"}},
		{"external name", func(s *corev1.ServiceSpec) { s.Type = "ExternalName" }, []string{"spec.externalName: Required value"}},
		{"affinity", func(s *corev1.ServiceSpec) { s.SessionAffinity = "Sticky" }, []string{"spec.sessionAffinity: Unsupported value"}},
		{"affinity time", func(s *corev1.ServiceSpec) {
			s.SessionAffinity = "ClientIP"
			s.SessionAffinityConfig = &corev1.SessionAffinityConfig{ClientIP: &corev1.ClientIPConfig{TimeoutSeconds: new(int32(90000))}}
		}, []string{"spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value"}},
		{
			"external addresses", func(s *corev1.ServiceSpec) { s.ExternalIPs = []string{"127.0.0.1", "x", "192.0.2.1"} },
			[]string{"spec.externalIPs[0]: Invalid value", "spec.externalIPs[1]: Invalid value"},
		},
		{"external policy inside", func(s *corev1.ServiceSpec) { s.ExternalTrafficPolicy = "Local" }, []string{"spec.externalTrafficPolicy: Invalid value"}},
		{"balancer things", func(s *corev1.ServiceSpec) {
			s.LoadBalancerSourceRanges, s.LoadBalancerClass, s.AllocateLoadBalancerNodePorts = []string{"10.0.0.0/8"}, new("a"), new(true)
		}, []string{"spec.allocateLoadBalancerNodePorts: Forbidden", "spec.loadBalancerClass: Forbidden", "spec.loadBalancerSourceRanges: Forbidden"}},
		{"selector", func(s *corev1.ServiceSpec) { s.Selector = map[string]string{"a": "b c"} }, []string{"spec.selector: Invalid value"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := simpleService(test.change)
			defaultService(s)
			prepareService(s, nil)
			checkRefusals(t, validateService(s, nil), test.want...)
		})
	}
}

func allocated() *corev1.Service {
	s := simpleService(func(s *corev1.ServiceSpec) {
		s.Type, s.ClusterIP, s.ClusterIPs = "NodePort", "10.96.0.5", []string{"10.96.0.5"}
		s.IPFamilies, s.IPFamilyPolicy = []corev1.IPFamily{"IPv4"}, new(corev1.IPFamilyPolicySingleStack)
		s.Ports[0].NodePort = 30080
	})
	defaultService(s)
	return s
}

func TestServiceUpdate(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(s *corev1.ServiceSpec)
		want   func(s *corev1.ServiceSpec)
		refuse []string
	}{
		{"allocated things left out stay", func(s *corev1.ServiceSpec) {
			s.ClusterIP, s.ClusterIPs, s.IPFamilies, s.IPFamilyPolicy, s.Ports[0].NodePort = "", nil, nil, nil, 0
		}, func(*corev1.ServiceSpec) {}, nil},
		{"the node port goes with the type", func(s *corev1.ServiceSpec) { s.Type = "ClusterIP" }, func(s *corev1.ServiceSpec) {
			s.Type, s.Ports[0].NodePort, s.ExternalTrafficPolicy = "ClusterIP", 0, ""
		}, nil},
		{"all goes with an external name", func(s *corev1.ServiceSpec) { s.Type, s.ExternalName = "ExternalName", "example.com" }, func(s *corev1.ServiceSpec) {
			s.Type, s.ExternalName, s.Ports[0].NodePort, s.ExternalTrafficPolicy = "ExternalName", "example.com", 0, ""
			s.ClusterIP, s.ClusterIPs, s.IPFamilies, s.IPFamilyPolicy, s.InternalTrafficPolicy = "", nil, nil, nil, nil
		}, nil},
		{"another address", func(s *corev1.ServiceSpec) { s.ClusterIP = "10.96.0.6" }, func(s *corev1.ServiceSpec) {
			s.ClusterIP, s.ClusterIPs = "10.96.0.6", []string{"10.96.0.6"}
		}, []string{"spec.clusterIPs[0]: Invalid value"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			old, s, want := allocated(), allocated(), allocated()
			test.change(&s.Spec)
			test.want(&want.Spec)
			defaultService(s)
			prepareService(s, old)
			if diff := cmp.Diff(want, s); diff != "" {
				t.Errorf("prepared (-want +got):\n%s", diff)
			}
			checkRefusals(t, validateService(s, old), test.refuse...)
		})
	}
}

func TestServiceColumns(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(s *corev1.Service)
		want   []any
	}{
		{"node port", func(*corev1.Service) {}, []any{"web", "NodePort", "10.96.0.5", "<none>", "80:30080/TCP", "10m", "app=web,tier=a"}},
		{"pending", func(s *corev1.Service) { s.Spec.Type = "LoadBalancer" }, []any{"web", "LoadBalancer", "10.96.0.5", "<pending>", "80:30080/TCP", "10m", "app=web,tier=a"}},
		{"balanced", func(s *corev1.Service) {
			s.Spec.Type = "LoadBalancer"
			s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "192.0.2.7"}, {Hostname: "a.example"}}
		}, []any{"web", "LoadBalancer", "10.96.0.5", "192.0.2.7,a.example", "80:30080/TCP", "10m", "app=web,tier=a"}},
		{"external name", func(s *corev1.Service) {
			s.Spec = corev1.ServiceSpec{Type: "ExternalName", ExternalName: "example.com"}
		}, []any{"web", "ExternalName", "<none>", "example.com", "<none>", "10m", "<none>"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := allocated()
			s.CreationTimestamp = ago(10 * time.Minute)
			s.Spec.Selector = map[string]string{"tier": "a", "app": "web"}
			test.change(s)
			if diff := cmp.Diff(test.want, row(Services, s)); diff != "" {
				t.Errorf("row (-want +got):\n%s", diff)
			}
		})
	}
}
