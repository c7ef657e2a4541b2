package apiserver_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	metricsv1beta1 "k8s.io/metrics/pkg/apis/metrics/v1beta1"
)

// TestFiguresOfAnotherServer registers a server for what this one would compute, and takes it away again.
func TestFiguresOfAnotherServer(t *testing.T) {
	c, gv := shared, metricsv1beta1.SchemeGroupVersion
	ns := c.namespace(t)
	web := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/apis/"+gv.String()+"/namespaces/"+ns+"/pods" && req.URL.Query().Get("labelSelector") == "a=b" {
			_, _ = io.WriteString(w, `{"kind":"PodMetricsList","items":[{"metadata":{"name":"p","namespace":"x","labels":{"a":"b"}},"window":"15s"},{"metadata":{"name":"other"}}]}`)
			return
		}
		w.WriteHeader(http.StatusNotFound)
	}))
	t.Cleanup(web.Close)
	must(c.typed(t).CoreV1().Services(ns).Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "backend"}, Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "figures.example.com"},
	}, metav1.CreateOptions{}))(t)
	lead("figures.example.com:443", web.Listener.Addr().String())
	svc := c.announce(t, gv, ns, nil, true)
	q := c.in("pods", ns, "")
	q.Resource = c.api.Registry.Resource(gv.WithResource("pods"))
	_, err := c.api.Compute(t.Context(), q, labels.Everything(), nil)
	wantStatus(t, err, 503, metav1.StatusReasonServiceUnavailable, "not available")
	c.report(t, svc.Name, apiregistrationv1.ConditionTrue)
	got := must(c.api.Compute(t.Context(), q, labels.SelectorFromSet(labels.Set{"a": "b"}), nil))(t)
	if len(got) != 1 || got[0].Object.GetName() != "p" || got[0].Object.(*metricsv1beta1.PodMetrics).Window.Seconds() != 15 {
		t.Errorf("figures: %v", got)
	}
	c.request(t, "DELETE", "/apis/apiregistration.k8s.io/v1/apiservices/"+svc.Name, "")
	if got := must(c.api.Compute(t.Context(), q, labels.Everything(), nil))(t); len(got) != 0 {
		t.Errorf("figures of the server itself: %v", got)
	}
}
