package apiserver_test

import (
	"net/netip"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func service(name string, kind corev1.ServiceType, ports ...corev1.ServicePort) *corev1.Service {
	if len(ports) == 0 {
		ports = []corev1.ServicePort{{Port: 80}}
	}
	return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.ServiceSpec{Type: kind, Ports: ports}}
}

func TestClusterIPs(t *testing.T) {
	ns := shared.namespace(t)
	api := shared.typed(t).CoreV1().Services(ns)
	made := must(api.Create(t.Context(), service("a", corev1.ServiceTypeClusterIP), metav1.CreateOptions{}))(t)
	ip := made.Spec.ClusterIP
	if addr, err := netip.ParseAddr(ip); err != nil || !shared.api.ServiceRange.Contains(addr) || len(made.Spec.ClusterIPs) != 1 || made.Spec.ClusterIPs[0] != ip {
		t.Fatalf("got %+v", made.Spec)
	}
	with := func(name, ip string) *corev1.Service {
		svc := service(name, corev1.ServiceTypeClusterIP)
		svc.Spec.ClusterIP = ip
		return svc
	}
	_, err := api.Create(t.Context(), with("b", ip), metav1.CreateOptions{})
	wantStatus(t, err, 422, metav1.StatusReasonInvalid, "provided IP is already allocated")
	_, err = api.Create(t.Context(), with("b", "192.0.2.7"), metav1.CreateOptions{})
	wantStatus(t, err, 422, metav1.StatusReasonInvalid, "is not in the valid range. The range of valid IPs is 10.96.0.0/24")

	replaced := service("a", corev1.ServiceTypeClusterIP, corev1.ServicePort{Port: 81})
	if got := must(api.Update(t.Context(), replaced, metav1.UpdateOptions{}))(t); got.Spec.ClusterIP != ip {
		t.Errorf("an update took the address: %s", got.Spec.ClusterIP)
	}
	if got := must(api.Create(t.Context(), with("headless", corev1.ClusterIPNone), metav1.CreateOptions{}))(t); got.Spec.ClusterIP != corev1.ClusterIPNone {
		t.Errorf("headless got %s", got.Spec.ClusterIP)
	}
	must(struct{}{}, api.Delete(t.Context(), "a", metav1.DeleteOptions{}))(t)
	must(api.Create(t.Context(), with("b", ip), metav1.CreateOptions{DryRun: []string{"All"}}))(t)
	must(api.Create(t.Context(), with("b", ip), metav1.CreateOptions{}))(t)
	invalid := with("c", "10.96.0.77")
	invalid.Spec.Ports[0].Port = 0
	if _, err := api.Create(t.Context(), invalid, metav1.CreateOptions{}); err == nil {
		t.Error("port 0 was taken")
	}
	must(api.Create(t.Context(), with("c", "10.96.0.77"), metav1.CreateOptions{}))(t)
}

func TestNodePorts(t *testing.T) {
	ns := shared.namespace(t)
	api := shared.typed(t).CoreV1().Services(ns)
	made := must(api.Create(t.Context(), service("a", corev1.ServiceTypeNodePort), metav1.CreateOptions{}))(t)
	port := made.Spec.Ports[0].NodePort
	if port < 30000 || port > 30015 {
		t.Fatalf("port %d", port)
	}
	with := func(name string, port int32) *corev1.Service {
		return service(name, corev1.ServiceTypeNodePort, corev1.ServicePort{Port: 80, NodePort: port})
	}
	_, err := api.Create(t.Context(), with("b", port), metav1.CreateOptions{})
	wantStatus(t, err, 422, metav1.StatusReasonInvalid, "spec.ports[0].nodePort: Invalid value")
	_, err = api.Create(t.Context(), with("b", 29999), metav1.CreateOptions{})
	wantStatus(t, err, 422, metav1.StatusReasonInvalid, "The range of valid ports is 30000-30015")
	replaced := service("a", corev1.ServiceTypeNodePort)
	replaced.Labels = map[string]string{"a": "b"}
	if got := must(api.Update(t.Context(), replaced, metav1.UpdateOptions{}))(t); got.Spec.Ports[0].NodePort != port {
		t.Errorf("an update moved the port to %d", got.Spec.Ports[0].NodePort)
	}
	plain := must(api.Get(t.Context(), "a", metav1.GetOptions{}))(t)
	plain.Spec.Type = corev1.ServiceTypeClusterIP
	plain.Spec.Ports[0].NodePort = 0
	must(api.Update(t.Context(), plain, metav1.UpdateOptions{}))(t)
	must(api.Create(t.Context(), with("b", port), metav1.CreateOptions{}))(t)
	must(struct{}{}, api.Delete(t.Context(), "b", metav1.DeleteOptions{}))(t)

	both := service("dns", corev1.ServiceTypeNodePort,
		corev1.ServicePort{Name: "u", Port: 53, NodePort: port, Protocol: corev1.ProtocolUDP}, corev1.ServicePort{Name: "t", Port: 53, NodePort: port, Protocol: corev1.ProtocolTCP})
	must(api.Create(t.Context(), both, metav1.CreateOptions{}))(t)
	must(struct{}{}, api.Delete(t.Context(), "dns", metav1.DeleteOptions{}))(t)

	for i := range 16 {
		must(api.Create(t.Context(), service(string(rune('d'+i)), corev1.ServiceTypeNodePort), metav1.CreateOptions{}))(t)
	}
	if _, err := api.Create(t.Context(), service("full", corev1.ServiceTypeNodePort), metav1.CreateOptions{}); err == nil {
		t.Error("a 17th port of 16")
	}
	must(struct{}{}, api.Delete(t.Context(), "d", metav1.DeleteOptions{}))(t)
	must(api.Create(t.Context(), service("again", corev1.ServiceTypeNodePort), metav1.CreateOptions{}))(t)
	for i := range 15 {
		must(struct{}{}, api.Delete(t.Context(), string(rune('e'+i)), metav1.DeleteOptions{}))(t)
	}
}
