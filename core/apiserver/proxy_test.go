package apiserver_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// echo is all pods: it answers with what it was asked.
type echo struct{}

func (echo) RoundTrip(req *http.Request) (*http.Response, error) {
	body := []byte{}
	if req.Body != nil {
		var err error
		if body, err = io.ReadAll(req.Body); err != nil {
			return nil, err
		}
	}
	text := fmt.Sprintf("%s %s %s%s", req.Method, req.URL, body, req.Header.Get("Authorization")+req.Header.Get("X-Remote-User"))
	return &http.Response{
		StatusCode: http.StatusTeapot, ProtoMajor: 1, ProtoMinor: 1, Request: req,
		Header: http.Header{"Content-Type": {"text/plain"}}, Body: io.NopCloser(strings.NewReader(text)),
	}, nil
}

func running(t *testing.T, ns, name, ip string, ports ...corev1.ContainerPort) {
	t.Helper()
	p := pod(name)
	p.Spec.Containers[0].Ports = ports
	pods := shared.typed(t).CoreV1().Pods(ns)
	p = must(pods.Create(t.Context(), p, metav1.CreateOptions{}))(t)
	p.Status.PodIP, p.Status.PodIPs = ip, []corev1.PodIP{{IP: ip}}
	must(pods.UpdateStatus(t.Context(), p, metav1.UpdateOptions{}))(t)
}

// served is a service of two ports with a ready endpoint and one that is not.
func served(t *testing.T, ns string) {
	t.Helper()
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "s"}, Spec: corev1.ServiceSpec{
		Ports: []corev1.ServicePort{{Name: "web", Port: 80}, {Name: "other", Port: 81}},
	}}
	must(shared.typed(t).CoreV1().Services(ns).Create(t.Context(), svc, metav1.CreateOptions{}))(t)
	target := &corev1.ObjectReference{Kind: "Pod", Name: "p"}
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: "s-1", Labels: map[string]string{discoveryv1.LabelServiceName: "s"}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: new("web"), Port: new(int32(8080))}},
		Endpoints: []discoveryv1.Endpoint{
			{Addresses: []string{"10.244.0.8"}, TargetRef: target, Conditions: discoveryv1.EndpointConditions{Ready: new(false)}},
			{Addresses: []string{"10.244.0.9"}, TargetRef: target, Conditions: discoveryv1.EndpointConditions{Ready: new(true)}},
			{Addresses: []string{"10.244.0.10"}},
		},
	}
	must(shared.typed(t).DiscoveryV1().EndpointSlices(ns).Create(t.Context(), slice, metav1.CreateOptions{}))(t)
}

func TestProxy(t *testing.T) {
	ns := shared.namespace(t)
	running(t, ns, "p", "10.244.0.7", corev1.ContainerPort{ContainerPort: 9376})
	running(t, ns, "portless", "10.244.0.7")
	running(t, ns, "v6", "fd00::7")
	running(t, ns, "near", "127.0.0.1")
	served(t, ns)
	pods, services := "/api/v1/namespaces/"+ns+"/pods/", "/api/v1/namespaces/"+ns+"/services/"
	for _, c := range []struct{ name, method, path, body, want string }{
		{name: "the first port", method: "GET", path: pods + "p/proxy/", want: "GET http://10.244.0.7:9376/ "},
		{name: "redirected to the root", method: "GET", path: pods + "p/proxy", want: "GET http://10.244.0.7:9376/ "},
		{name: "path and query", method: "GET", path: pods + "p:80/proxy/a/b//c/?watch=1&x=y", want: "GET http://10.244.0.7:80/a/b//c/?watch=1&x=y "},
		{name: "scheme", method: "GET", path: pods + "https:p:443/proxy/a", want: "GET https://10.244.0.7:443/a "},
		{name: "no port", method: "GET", path: pods + "portless/proxy/a", want: "GET http://10.244.0.7/a "},
		{name: "IPv6", method: "GET", path: pods + "v6:1/proxy/a", want: "GET http://[fd00::7]:1/a "},
		{name: "body", method: "POST", path: pods + "p/proxy/a?dryRun=none", body: "hi", want: "POST http://10.244.0.7:9376/a?dryRun=none hi"},
		{name: "put", method: "PUT", path: pods + "p/proxy/a", body: "hi", want: "PUT http://10.244.0.7:9376/a hi"},
		{name: "patch", method: "PATCH", path: pods + "p/proxy/a", body: "hi", want: "PATCH http://10.244.0.7:9376/a hi"},
		{name: "delete", method: "DELETE", path: pods + "p/proxy/a", want: "DELETE http://10.244.0.7:9376/a "},
		{name: "options", method: "OPTIONS", path: pods + "p/proxy/a", want: "OPTIONS http://10.244.0.7:9376/a "},
		{name: "service by name of its port", method: "GET", path: services + "s:web/proxy/a", want: "GET http://10.244.0.9:8080/a "},
		{name: "service by number of its port", method: "GET", path: services + "s:80/proxy/a", want: "GET http://10.244.0.9:8080/a "},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := shared.request(t, c.method, c.path, c.body, "X-Remote-User", "somebody")
			if got.Code != http.StatusTeapot || string(got.Body) != c.want {
				t.Errorf("got %d %q, want %q", got.Code, got.Body, c.want)
			}
		})
	}
}

func TestProxyRefuses(t *testing.T) {
	ns := shared.namespace(t)
	running(t, ns, "near", "127.0.0.1")
	running(t, ns, "link", "169.254.169.254")
	must(shared.typed(t).CoreV1().Pods(ns).Create(t.Context(), pod("new"), metav1.CreateOptions{}))(t)
	served(t, ns)
	pods, services := "/api/v1/namespaces/"+ns+"/pods/", "/api/v1/namespaces/"+ns+"/services/"
	for _, c := range []struct {
		path string
		code int32
		part string
	}{
		{pods + "near/proxy/", 400, "address not allowed"},
		{pods + "link:80/proxy/", 400, "address not allowed"},
		{pods + "new/proxy/", 400, "address not allowed"},
		{pods + "none/proxy/", 404, `pods "none" not found`},
		{pods + "a:b:c:d/proxy/", 400, `invalid pod request "a:b:c:d"`},
		{services + "s/proxy/", 503, `no endpoints available for service "s"`},
		{services + "s:other/proxy/", 503, `no endpoints available for service "s"`},
		{services + "s:7/proxy/", 503, `no service port 7 found for service "s"`},
		{services + "none/proxy/", 404, `services "none" not found`},
		{pods + "near/log/more", 404, "could not find"},
	} {
		s := shared.request(t, "GET", c.path, "").status(t)
		if s.Code != c.code || !strings.Contains(s.Message, c.part) {
			t.Errorf("%s: %d %s, want %d %s", c.path, s.Code, s.Message, c.code, c.part)
		}
	}
}
