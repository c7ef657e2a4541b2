package control

import (
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	"k8s.io/kube-aggregator/pkg/apis/apiregistration/v1/helper"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// condition tells the status and the reason of an APIService, "" when there is none.
func condition(l *apiregistrationv1.APIServiceList, name string) string {
	for i := range l.Items {
		if c := helper.GetAPIServiceConditionByType(&l.Items[i], apiregistrationv1.Available); l.Items[i].Name == name && c != nil {
			return fmt.Sprintf("%s %s", c.Status, c.Reason)
		}
	}
	return ""
}

func (c *cluster) available(name, state string) {
	c.t.Helper()
	until(c, &apiregistrationv1.APIServiceList{}, "", func(l *apiregistrationv1.APIServiceList) string {
		return want(name, condition(l, name), state)
	})
}

// TestAPIServices follows an aggregated API server through everything that can be wrong with it.
func TestAPIServices(t *testing.T) {
	web := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Header.Get("X-Remote-User") != "system:kube-aggregator" || req.URL.Path != "/apis/things.example.com/v1" {
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	t.Cleanup(web.Close)
	c := start(t)
	c.backend = web.Listener.Addr().String()
	c.available("v1.", "True Local")
	c.available("v1.apps", "True Local")

	const name = "v1.things.example.com"
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "things"}, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 443}}}}
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: "default", Name: "things", Labels: map[string]string{discoveryv1.LabelServiceName: "things"}},
		AddressType: discoveryv1.AddressTypeIPv4, Ports: []discoveryv1.EndpointPort{{Name: new(""), Port: new(int32(443))}},
		Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"192.0.2.9"}}},
	}
	c.must(c.Create(c.ctx, &apiregistrationv1.APIService{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: apiregistrationv1.APIServiceSpec{
			Group: "things.example.com", Version: "v1", GroupPriorityMinimum: 100, VersionPriority: 100,
			CABundle: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: web.Certificate().Raw}),
			Service:  &apiregistrationv1.ServiceReference{Namespace: "default", Name: "things"},
		},
	}))
	c.available(name, "False ServiceNotFound")
	c.must(c.Create(c.ctx, service))
	c.available(name, "False EndpointsNotFound")
	c.must(c.Create(c.ctx, slice))
	c.available(name, "False FailedDiscoveryCheck") // the certificate is for example.com
	insecure := []byte(`{"spec":{"insecureSkipTLSVerify":true,"caBundle":null}}`)
	c.must(c.Patch(c.ctx, &apiregistrationv1.APIService{ObjectMeta: metav1.ObjectMeta{Name: name}}, client.RawPatch("application/merge-patch+json", insecure)))
	c.available(name, "True Passed")
	c.must(c.Delete(c.ctx, slice))
	c.available(name, "False EndpointsNotFound")

	c.defineWidgets("apiservices")
	c.available("v1.example.com", "True Local")
	c.must(c.Delete(c.ctx, widgets()))
	c.release("apiservices")
	c.available("v1.example.com", "")
	c.available(name, "False EndpointsNotFound") // what somebody has registered stays
}
