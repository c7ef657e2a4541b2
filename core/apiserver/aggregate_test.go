package apiserver_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"

	"github.com/gantryio/gantry/core/api/apiregistration"
	"github.com/gantryio/gantry/core/pki"
	"github.com/gantryio/gantry/test/aggregated"
)

// dials leads to the listeners of tests what is dialed at addresses that nobody has.
var dials = struct {
	addresses chan struct{}
	to        map[string]string
}{make(chan struct{}, 1), map[string]string{}}

func lead(from, to string) {
	dials.addresses <- struct{}{}
	dials.to[from] = to
	<-dials.addresses
}

func dialLed(ctx context.Context, network, address string) (net.Conn, error) {
	dials.addresses <- struct{}{}
	to := dials.to[address]
	<-dials.addresses
	if to == "" {
		return nil, fmt.Errorf("nobody is at %s", address)
	}
	return (&net.Dialer{}).DialContext(ctx, network, to)
}

// backend starts an aggregated API server behind a Service, without an APIService.
func (c *cluster) backend(t *testing.T, namespace, address string, s *aggregated.Server) *httptest.Server {
	t.Helper()
	if err := s.Start(t.Context(), c.typed(t)); err != nil {
		t.Fatal(err)
	}
	web := httptest.NewUnstartedServer(s)
	pair := must(c.authority.Issue("backend-"+namespace, pki.Identity{CommonName: "backend", Names: []string{"backend." + namespace + ".svc"}}))(t)
	web.TLS, web.EnableHTTP2 = aggregated.TLS(pair.TLS()), true
	web.StartTLS()
	t.Cleanup(func() {
		web.CloseClientConnections()
		web.Close()
	})
	lead(address+":8443", web.Listener.Addr().String())
	api := c.typed(t)
	must(api.CoreV1().Services(namespace).Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "backend"}, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "https", Port: 443}}},
	}, metav1.CreateOptions{}))(t)
	must(api.DiscoveryV1().EndpointSlices(namespace).Create(t.Context(), &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: "backend", Labels: map[string]string{discoveryv1.LabelServiceName: "backend"}},
		AddressType: discoveryv1.AddressTypeIPv4, Ports: []discoveryv1.EndpointPort{{Name: new("https"), Port: new(int32(8443))}},
		Endpoints: []discoveryv1.Endpoint{{Addresses: []string{address}}},
	}, metav1.CreateOptions{}))(t)
	return web
}

// announce makes the APIService of a group version whose server is "backend" of a namespace.
func (c *cluster) announce(t *testing.T, gv schema.GroupVersion, namespace string, ca []byte, insecure bool) *apiregistrationv1.APIService {
	t.Helper()
	obj := &apiregistrationv1.APIService{
		ObjectMeta: metav1.ObjectMeta{Name: apiregistration.NameOf(gv)},
		Spec: apiregistrationv1.APIServiceSpec{
			Group: gv.Group, Version: gv.Version, GroupPriorityMinimum: 500, VersionPriority: 10, CABundle: ca, InsecureSkipTLSVerify: insecure,
			Service: &apiregistrationv1.ServiceReference{Namespace: namespace, Name: "backend"},
		},
	}
	entry := must(c.api.Create(t.Context(), c.in("apiservices", "", ""), obj))(t)
	return entry.Object.(*apiregistrationv1.APIService)
}

// report sets the Available condition, as the controller does after its checks.
func (c *cluster) report(t *testing.T, name string, status apiregistrationv1.ConditionStatus) {
	t.Helper()
	patch := fmt.Sprintf(`{"status":{"conditions":[{"type":"Available","status":%q,"reason":"Test","message":"","lastTransitionTime":"2026-01-01T00:00:00Z"}]}}`, status)
	got := c.request(t, "PATCH", "/apis/apiregistration.k8s.io/v1/apiservices/"+name+"/status", patch, "Content-Type", "application/merge-patch+json")
	if got.Code != http.StatusOK {
		t.Fatalf("report: %d %s", got.Code, got.Body)
	}
}

func TestAggregatedServer(t *testing.T) {
	c, gv := shared, schema.GroupVersion{Group: "aggregated.example.com", Version: "v1"}
	ns := c.namespace(t)
	server := &aggregated.Server{Version: gv}
	web := c.backend(t, ns, "192.0.2.11", server)
	svc := c.announce(t, gv, ns, c.authority.CertPEM, false)
	flunders := gv.WithResource("flunders")

	base := "/apis/" + gv.String()
	if got := c.request(t, "GET", base, ""); got.Code != http.StatusServiceUnavailable {
		t.Errorf("before it is available: %d %s", got.Code, got.Body)
	}
	if err := c.api.CheckAPIService(t.Context(), svc); err != nil {
		t.Fatalf("check: %v", err)
	}
	c.report(t, svc.Name, apiregistrationv1.ConditionTrue)

	client := c.dynamic(t).Resource(flunders).Namespace(ns)
	watching := must(client.Watch(t.Context(), metav1.ListOptions{}))(t)
	defer watching.Stop()
	obj := &unstructured.Unstructured{Object: map[string]any{"apiVersion": gv.String(), "kind": "Flunder", "metadata": map[string]any{"name": "a"}}}
	must(client.Create(t.Context(), obj, metav1.CreateOptions{}))(t)
	select {
	case e := <-watching.ResultChan():
		if e.Type != watch.Added || e.Object.(*unstructured.Unstructured).GetName() != "a" {
			t.Errorf("watched %v", e)
		}
	case <-time.After(10 * time.Second):
		t.Error("a watch does not stream")
	}
	if list := must(client.List(t.Context(), metav1.ListOptions{}))(t); len(list.Items) != 1 {
		t.Errorf("listed %d", len(list.Items))
	}
	if who := server.Last(); who.GetName() != "admin" || !slices.Equal(who.GetGroups(), []string{"system:masters", "system:authenticated"}) {
		t.Errorf("asked as %v", who)
	}
	c.wantEcho(t, base+"/namespaces/"+ns+"/flunders/a/echo")
	c.wantRefused(t, web.Listener.Addr().String(), base)
	if got := c.raw(t, c.config(t, "nobody"), "GET", base+"/flunders", ""); got.Code != http.StatusForbidden {
		t.Errorf("who may not: %d %s", got.Code, got.Body)
	}
	c.wantAnnounced(t, gv, "Current")

	c.report(t, svc.Name, apiregistrationv1.ConditionFalse)
	if got := c.request(t, "GET", base+"/flunders", ""); got.Code != http.StatusServiceUnavailable || strings.TrimSpace(string(got.Body)) != "service unavailable" {
		t.Errorf("not available: %d %s", got.Code, got.Body)
	}
	c.wantAnnounced(t, gv, "Stale")
	if got := c.request(t, "DELETE", "/apis/apiregistration.k8s.io/v1/apiservices/"+svc.Name, ""); got.Code != http.StatusOK {
		t.Fatalf("delete: %d %s", got.Code, got.Body)
	}
	if got := c.request(t, "GET", base, ""); got.Code != http.StatusNotFound {
		t.Errorf("unregistered: %d %s", got.Code, got.Body)
	}
}

// wantEcho speaks over an upgraded connection.
func (c *cluster) wantEcho(t *testing.T, path string) {
	t.Helper()
	pair := must(c.authority.Issue("client-admin", pki.Identity{CommonName: "admin", Organizations: []string{"system:masters"}}))(t)
	conn := must(tls.Dial("tcp", c.web.Listener.Addr().String(), &tls.Config{
		Certificates: []tls.Certificate{pair.TLS()}, RootCAs: c.authority.Pool(), ServerName: "localhost",
	}))(t)
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n", path)
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("upgrade: %v %v", resp, err)
	}
	if _, err := io.WriteString(conn, "hello\n"); err != nil {
		t.Fatal(err)
	}
	if line, err := in.ReadString('\n'); line != "hello\n" {
		t.Errorf("echo: %q %v", line, err)
	}
}

// wantRefused sends the headers without the front proxy's certificate.
func (c *cluster) wantRefused(t *testing.T, address, path string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	defer client.CloseIdleConnections()
	req := must(http.NewRequestWithContext(t.Context(), "GET", "https://"+address+path, nil))(t)
	req.Header.Set("X-Remote-User", "admin")
	resp := must(client.Do(req))(t)
	resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("headers of somebody else: %s", resp.Status)
	}
}

func (c *cluster) wantAnnounced(t *testing.T, gv schema.GroupVersion, freshness string) {
	t.Helper()
	aggregatedForm := c.request(t, "GET", "/apis", "", "Accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList").Body
	if want := `"freshness":"` + freshness + `"`; !strings.Contains(string(aggregatedForm), `"resource":"flunders"`) || !strings.Contains(string(aggregatedForm), want) {
		t.Errorf("not in the aggregated document with %s", want)
	}
	groups := string(c.request(t, "GET", "/apis", "").Body)
	if !strings.Contains(groups, `"groupVersion":"`+gv.String()+`"`) {
		t.Errorf("not among the groups: %s", groups)
	}
	if group := c.request(t, "GET", "/apis/"+gv.Group, ""); group.Code != http.StatusOK {
		t.Errorf("the group: %d %s", group.Code, group.Body)
	}
	index := string(c.request(t, "GET", "/openapi/v3", "").Body)
	url := `/openapi/v3/apis/` + gv.String()
	if has := strings.Contains(index, url+"?hash=ABC"); has != (freshness == "Current") {
		t.Errorf("in the index of descriptions: %t", has)
	}
	if freshness != "Current" {
		return
	}
	if doc := c.request(t, "GET", url, ""); !strings.Contains(string(doc.Body), "Flunder is nothing.") {
		t.Errorf("description: %d %s", doc.Code, doc.Body)
	}
}

// TestAggregatedServerOfOld has neither the aggregated form of discovery nor OpenAPI 3, and a certificate of its own.
func TestAggregatedServerOfOld(t *testing.T) {
	c, gv := shared, schema.GroupVersion{Group: "old.example.com", Version: "v1alpha1"}
	ns := c.namespace(t)
	c.backend(t, ns, "192.0.2.12", &aggregated.Server{Version: gv, Old: true})
	strange := otherAuthority(t)
	svc := c.announce(t, gv, ns, strange.CertPEM, false)
	if err := c.api.CheckAPIService(t.Context(), svc); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a server of another authority: %v", err)
	}
	c.request(t, "DELETE", "/apis/apiregistration.k8s.io/v1/apiservices/"+svc.Name, "")
	svc = c.announce(t, gv, ns, nil, true)
	if err := c.api.CheckAPIService(t.Context(), svc); err != nil {
		t.Fatal(err)
	}
	c.report(t, svc.Name, apiregistrationv1.ConditionTrue)
	resources := must(c.typed(t).Discovery().ServerResourcesForGroupVersion(gv.String()))(t)
	if len(resources.APIResources) != 2 {
		t.Errorf("resources: %v", resources)
	}
	if doc := string(c.request(t, "GET", "/apis", "", "Accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList").Body); !strings.Contains(doc, `"subresource":"echo"`) {
		t.Error("the older form of discovery was not taken")
	}
	c.wantDescribed(t, "Flunder is nothing.", "/apis/"+gv.String()+"/flunders")
	c.request(t, "DELETE", "/apis/apiregistration.k8s.io/v1/apiservices/"+svc.Name, "")
}

// wantDescribed looks for a text and a path in the OpenAPI 2 document, in both of its forms.
func (c *cluster) wantDescribed(t *testing.T, text, path string) {
	t.Helper()
	const protobuf = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
	for _, accept := range []string{"application/json", protobuf} {
		doc := c.request(t, "GET", "/openapi/v2", "", "Accept", accept)
		for _, part := range []string{text, path, "io.k8s.api.core.v1.Pod"} {
			if !strings.Contains(string(doc.Body), part) {
				t.Errorf("%s is not described as %s (%d, %d bytes)", part, accept, doc.Code, len(doc.Body))
			}
		}
		if again := c.request(t, "GET", "/openapi/v2", "", "Accept", accept, "If-None-Match", doc.Header.Get("ETag")); again.Code != http.StatusNotModified {
			t.Errorf("the same again: %d", again.Code)
		}
	}
}
