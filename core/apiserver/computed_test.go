package apiserver_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	statsv1alpha1 "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
	metricsv1beta1 "k8s.io/metrics/pkg/apis/metrics/v1beta1"
	metricsclient "k8s.io/metrics/pkg/client/clientset/versioned"

	"github.com/gantryio/gantry/core/apiserver"
	"github.com/gantryio/gantry/core/auth"
)

// measured is an agent whose containers use a quarter of a core each.
type measured struct{ pods []statsv1alpha1.PodReference }

func (m *measured) RoundTrip(*http.Request) (*http.Response, error) {
	now := time.Now()
	worked, memory := uint64(now.UnixNano()/4), uint64(64<<20)
	cpu := &statsv1alpha1.CPUStats{Time: metav1.NewTime(now), UsageCoreNanoSeconds: &worked}
	mem := &statsv1alpha1.MemoryStats{WorkingSetBytes: &memory}
	sum := statsv1alpha1.Summary{Node: statsv1alpha1.NodeStats{CPU: cpu, Memory: mem}}
	for _, ref := range m.pods {
		sum.Pods = append(sum.Pods, statsv1alpha1.PodStats{PodRef: ref, Containers: []statsv1alpha1.ContainerStats{
			{Name: "main", CPU: cpu, Memory: mem}, {Name: "aside", CPU: cpu, Memory: mem},
		}})
	}
	data, err := json.Marshal(sum)
	return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader(string(data)))}, err
}

// withAgents is another server over the shared store and cache.
func withAgents(t *testing.T, agents http.RoundTripper) *cluster {
	t.Helper()
	c := *shared
	c.api = &apiserver.Server{
		Registry: shared.api.Registry, Store: shared.store, Cache: shared.cache, Authenticator: auth.Certificates{},
		Authorizer: auth.Chain{auth.Masters{}, auth.NewRBAC(shared.cache, shared.api.Registry)}, Agents: agents,
	}
	c.api.Init()
	if err := c.serve(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.web.Close)
	return &c
}

func TestMetrics(t *testing.T) {
	agent := &measured{}
	c, ns, ctx := withAgents(t, agent), shared.namespace(t), t.Context()
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "measured", Labels: map[string]string{"kind": "measured"}}, Status: corev1.NodeStatus{
		Addresses:       []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "192.0.2.7"}},
		DaemonEndpoints: corev1.NodeDaemonEndpoints{KubeletEndpoint: corev1.DaemonEndpoint{Port: 10250}},
	}}
	must(c.typed(t).CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{}))(t)
	t.Cleanup(func() {
		_ = shared.typed(t).CoreV1().Nodes().Delete(t.Context(), "measured", metav1.DeleteOptions{})
	})
	for _, name := range []string{"a", "b", "pending"} {
		p := pod(name)
		p.Labels, p.Spec.NodeName = map[string]string{"app": name}, "measured"
		made := must(c.typed(t).CoreV1().Pods(ns).Create(ctx, p, metav1.CreateOptions{}))(t)
		if name == "pending" {
			continue
		}
		made.Status.Phase = corev1.PodRunning
		made = must(c.typed(t).CoreV1().Pods(ns).UpdateStatus(ctx, made, metav1.UpdateOptions{}))(t)
		agent.pods = append(agent.pods, statsv1alpha1.PodReference{Name: name, Namespace: ns, UID: string(made.UID)})
	}
	metrics := must(metricsclient.NewForConfig(c.admin(t)))(t).MetricsV1beta1()

	list := must(metrics.PodMetricses(ns).List(ctx, metav1.ListOptions{}))(t)
	var names []string
	for _, m := range list.Items {
		names = append(names, m.Name)
		checkUsage(t, &m)
	}
	if diff := cmp.Diff([]string{"a", "b"}, names); diff != "" || list.ResourceVersion != "" {
		t.Errorf("%s at %q", diff, list.ResourceVersion)
	}
	list = must(metrics.PodMetricses("").List(ctx, metav1.ListOptions{LabelSelector: "app=b"}))(t)
	if len(list.Items) != 1 || list.Items[0].Name != "b" || list.Items[0].Labels["app"] != "b" {
		t.Errorf("selected %+v", list.Items)
	}
	checkUsage(t, must(metrics.PodMetricses(ns).Get(ctx, "a", metav1.GetOptions{}))(t))
	_, err := metrics.PodMetricses(ns).Get(ctx, "pending", metav1.GetOptions{})
	wantStatus(t, err, 404, metav1.StatusReasonNotFound, `pods.metrics.k8s.io "pending" not found`)

	nodes := must(metrics.NodeMetricses().List(ctx, metav1.ListOptions{LabelSelector: "kind=measured"}))(t)
	if len(nodes.Items) != 1 || nodes.Items[0].Window.Duration < 500*time.Millisecond {
		t.Fatalf("nodes %+v", nodes.Items)
	}
	if cpu := nodes.Items[0].Usage.Cpu().MilliValue(); cpu < 245 || cpu > 255 {
		t.Errorf("the node uses %d thousandths of a core, want 250", cpu)
	}

	a := c.request(t, "GET", "/apis/metrics.k8s.io/v1beta1/namespaces/"+ns+"/pods", "", "Accept", "application/json;as=Table;v=v1;g=meta.k8s.io")
	var table metav1.Table
	if err := json.Unmarshal(a.Body, &table); err != nil || len(table.Rows) != 2 || len(table.Rows[0].Cells) != 4 || table.Rows[0].Cells[2] != "128Mi" {
		t.Errorf("%v %d %s", err, a.Code, a.Body)
	}
	for _, method := range []string{"POST", "DELETE"} {
		if a := c.request(t, method, "/apis/metrics.k8s.io/v1beta1/namespaces/"+ns+"/pods", "{}"); a.Code != 405 {
			t.Errorf("%s: %d %s", method, a.Code, a.Body)
		}
	}
	if a := c.request(t, "GET", "/apis/metrics.k8s.io/v1beta1/namespaces/"+ns+"/pods?watch=true", ""); a.Code != 405 {
		t.Errorf("watch: %d %s", a.Code, a.Body)
	}
	resources := must(c.typed(t).Discovery().ServerResourcesForGroupVersion("metrics.k8s.io/v1beta1"))(t)
	for _, r := range resources.APIResources {
		if diff := cmp.Diff(metav1.Verbs{"get", "list"}, r.Verbs); diff != "" {
			t.Errorf("%s: %s", r.Name, diff)
		}
	}
	_, err = must(metricsclient.NewForConfig(c.config(t, "nobody")))(t).MetricsV1beta1().PodMetricses(ns).List(ctx, metav1.ListOptions{})
	wantStatus(t, err, 403, metav1.StatusReasonForbidden, `cannot list resource "pods" in API group "metrics.k8s.io"`)
}

func checkUsage(t *testing.T, m *metricsv1beta1.PodMetrics) {
	t.Helper()
	if len(m.Containers) != 2 || m.Containers[0].Name != "aside" || m.Containers[1].Name != "main" {
		t.Fatalf("containers of %s: %+v", m.Name, m.Containers)
	}
	for _, c := range m.Containers {
		if cpu := c.Usage.Cpu().MilliValue(); cpu < 245 || cpu > 255 || c.Usage.Memory().String() != "64Mi" {
			t.Errorf("%s of %s uses %s, %s", c.Name, m.Name, c.Usage.Cpu(), c.Usage.Memory())
		}
	}
}
