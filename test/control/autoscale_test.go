package control

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/rest"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	customv1beta2 "k8s.io/metrics/pkg/apis/custom_metrics/v1beta2"
	externalv1beta1 "k8s.io/metrics/pkg/apis/external_metrics/v1beta1"
	metricsv1beta1 "k8s.io/metrics/pkg/apis/metrics/v1beta1"
	ctrlclient "sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gantryio/gantry/controllers/horizontalpodautoscaler"
	"github.com/gantryio/gantry/core/apiserver"
)

// figures pretends that every running pod uses what the cluster's load says.
type figures struct{ *cluster }

func (f figures) List(ctx context.Context, out ctrlclient.ObjectList, opts ...ctrlclient.ListOption) error {
	var pods corev1.PodList
	if err := f.Client.List(ctx, &pods, opts...); err != nil {
		return err
	}
	list := out.(*metricsv1beta1.PodMetricsList)
	for i := range pods.Items {
		if pods.Items[i].Status.Phase != corev1.PodRunning {
			continue
		}
		list.Items = append(list.Items, metricsv1beta1.PodMetrics{
			ObjectMeta: metav1.ObjectMeta{Namespace: pods.Items[i].Namespace, Name: pods.Items[i].Name},
			Timestamp:  metav1.Now(), Window: metav1.Duration{Duration: time.Second},
			Containers: []metricsv1beta1.ContainerMetrics{{Name: "web", Usage: corev1.ResourceList{corev1.ResourceCPU: *resource.NewMilliQuantity(f.load.Load(), resource.DecimalSI)}}},
		})
	}
	return nil
}

// figures reads custom and external metrics from the API servers that a test registers.
func (c *cluster) figures(mapper meta.RESTMapper) horizontalpodautoscaler.Metrics {
	c.t.Helper()
	m := horizontalpodautoscaler.Metrics{Usage: figures{c}}
	admin := &user.DefaultInfo{Name: "test", Groups: []string{user.SystemPrivilegedGroup}}
	config := &rest.Config{Host: "https://in-process.invalid", Transport: apiserver.Loopback{Server: c.server, User: admin}, QPS: -1}
	c.must(m.Connect(c.ctx, config, mapper))
	return m
}

func autoscaler(namespace, name string, metrics ...autoscalingv2.MetricSpec) *autoscalingv2.HorizontalPodAutoscaler {
	return &autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "web"},
			MinReplicas:    new(int32(1)), MaxReplicas: 6, Metrics: metrics,
		},
	}
}

// scales waits until the deployment has a size and the autoscaler's conditions contain the parts.
func (c *cluster) scales(namespace string, n int32, parts ...string) {
	c.t.Helper()
	c.complete(namespace, n)
	until(c, &autoscalingv2.HorizontalPodAutoscalerList{}, namespace, func(l *autoscalingv2.HorizontalPodAutoscalerList) string {
		var text strings.Builder
		for _, k := range l.Items[0].Status.Conditions {
			fmt.Fprintf(&text, "%s=%s %s: %s\n", k.Type, k.Status, k.Reason, k.Message)
		}
		for _, part := range parts {
			if !strings.Contains(text.String(), part) {
				return fmt.Sprintf("no %q in the conditions:\n%s", part, text.String())
			}
		}
		return want("size in the status", l.Items[0].Status.CurrentReplicas, n)
	})
}

func TestAutoscaling(t *testing.T) {
	c := start(t)
	c.addNode("n1")
	c.namespace("one")
	d := deploymentOf("one", 2)
	d.Spec.Template.Spec.Containers[0].Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m")}
	c.load.Store(50)
	c.must(c.Create(c.ctx, d))
	c.complete("one", 2)
	c.must(c.Create(c.ctx, autoscaler("one", "web", autoscalingv2.MetricSpec{Type: autoscalingv2.ResourceMetricSourceType, Resource: &autoscalingv2.ResourceMetricSource{
		Name: corev1.ResourceCPU, Target: autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: new(int32(50))},
	}})))
	c.scales("one", 2, "ScalingActive=True ValidMetricFound: the HPA was able to successfully calculate a replica count from cpu resource utilization (percentage of request)",
		"AbleToScale=True ReadyForNewScale", "ScalingLimited=False DesiredWithinRange")

	c.load.Store(500)
	c.scales("one", 6, "ScalingLimited=True TooManyReplicas: the desired replica count is more than the maximum replica count")
	until(c, &corev1.EventList{}, "one", func(l *corev1.EventList) string {
		for _, e := range l.Items {
			if e.Reason == "SuccessfulRescale" && e.InvolvedObject.Name == "web" && e.Message == "New size: 4; reason: cpu resource utilization (percentage of request) above target" {
				return ""
			}
		}
		return "no event tells of the growth"
	})
	c.load.Store(10)
	c.scales("one", 2, "ScalingActive=True")

	// Somebody who makes it smaller than it may be is overruled, and who switches it off is not.
	c.edit("one", func(d *appsv1.Deployment) { d.Spec.Replicas = new(int32(9)) })
	c.scales("one", 2, "AbleToScale=True")
	c.edit("one", func(d *appsv1.Deployment) { d.Spec.Replicas = new(int32(0)) })
	c.scales("one", 0, "ScalingActive=False ScalingDisabled: scaling is disabled since the replica count of the target is zero")
}

// What cannot be done is said in the conditions, and is done once it can be.
func TestAutoscalingInTrouble(t *testing.T) {
	c := start(t)
	c.addNode("n1")
	c.load.Store(50)
	pods := autoscalingv2.MetricSpec{Type: autoscalingv2.PodsMetricSourceType, Pods: &autoscalingv2.PodsMetricSource{
		Metric: autoscalingv2.MetricIdentifier{Name: "requests"}, Target: autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: new(resource.MustParse("1"))},
	}}
	condition := func(namespace, part string) {
		t.Helper()
		until(c, &autoscalingv2.HorizontalPodAutoscalerList{}, namespace, func(l *autoscalingv2.HorizontalPodAutoscalerList) string {
			got := fmt.Sprint(l.Items[0].Status.Conditions)
			if strings.Contains(got, part) {
				return ""
			}
			return fmt.Sprintf("no %q in %s", part, got)
		})
	}
	for _, ns := range []string{"none", "custom", "odd", "both"} {
		c.namespace(ns)
	}
	c.must(c.Create(c.ctx, autoscaler("none", "web")))
	condition("none", `the HPA controller was unable to get the target's current scale: deployments.apps "web" not found`)
	c.must(c.Create(c.ctx, deploymentOf("none", 1)))
	condition("none", "missing request for cpu in container web of Pod web-")

	c.must(c.Create(c.ctx, deploymentOf("custom", 1)))
	c.must(c.Create(c.ctx, autoscaler("custom", "web", pods)))
	condition("custom", "the HPA was unable to compute the replica count: unable to get metric requests: unable to fetch metrics from custom metrics API: no custom metrics API (custom.metrics.k8s.io) registered")

	odd := autoscaler("odd", "web")
	odd.Spec.ScaleTargetRef = autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Sail", Name: "web"}
	c.must(c.Create(c.ctx, odd))
	condition("odd", `unable to determine resource for scale target reference: no matches for kind "Sail" in group "apps"`)

	c.must(c.Create(c.ctx, deploymentOf("both", 1)))
	c.complete("both", 1)
	c.must(c.Create(c.ctx, autoscaler("both", "a")))
	c.must(c.Create(c.ctx, autoscaler("both", "b")))
	condition("both", "pods by selector app=web are controlled by multiple HPAs: [both/a both/b]")
	c.must(c.Delete(c.ctx, autoscaler("both", "a")))
	condition("both", "missing request for cpu")
}

// TestAutoscalingByOtherMetrics takes figures of pods, of a Service and of something outside from API servers that are registered.
func TestAutoscalingByOtherMetrics(t *testing.T) {
	c := start(t)
	var perPod, ofService, outside atomic.Int64
	web := httptest.NewTLSServer(adapter(func(path string) any {
		value := func(kind, name string, v int64) customv1beta2.MetricValue {
			return customv1beta2.MetricValue{
				DescribedObject: corev1.ObjectReference{Kind: kind, Name: name}, Timestamp: metav1.Now(), Value: *resource.NewQuantity(v, resource.DecimalSI),
			}
		}
		list := customv1beta2.MetricValueList{TypeMeta: metav1.TypeMeta{APIVersion: "custom.metrics.k8s.io/v1beta2", Kind: "MetricValueList"}}
		switch path {
		case "/apis/custom.metrics.k8s.io/v1beta2/namespaces/one/pods/*/queue":
			var pods corev1.PodList
			if err := c.List(c.ctx, &pods, ctrlclient.InNamespace("one")); err != nil {
				return nil
			}
			for _, p := range pods.Items {
				list.Items = append(list.Items, value("Pod", p.Name, perPod.Load()))
			}
		case "/apis/custom.metrics.k8s.io/v1beta2/namespaces/one/services/web/requests":
			list.Items = append(list.Items, value("Service", "web", ofService.Load()))
		case "/apis/external.metrics.k8s.io/v1beta1/namespaces/one/jobs":
			return externalv1beta1.ExternalMetricValueList{
				TypeMeta: metav1.TypeMeta{APIVersion: "external.metrics.k8s.io/v1beta1", Kind: "ExternalMetricValueList"},
				Items:    []externalv1beta1.ExternalMetricValue{{MetricName: "jobs", Timestamp: metav1.Now(), Value: *resource.NewQuantity(outside.Load(), resource.DecimalSI)}},
			}
		default:
			return nil
		}
		return list
	}))
	t.Cleanup(web.Close)
	c.backend = web.Listener.Addr().String()
	c.addNode("n1")
	c.namespace("one")
	c.must(c.Create(c.ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "one", Name: "adapter"}, Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "adapter.example.com"},
	}))
	for _, gv := range [][2]string{{"custom.metrics.k8s.io", "v1beta2"}, {"external.metrics.k8s.io", "v1beta1"}} {
		c.must(c.Create(c.ctx, &apiregistrationv1.APIService{
			ObjectMeta: metav1.ObjectMeta{Name: gv[1] + "." + gv[0]},
			Spec: apiregistrationv1.APIServiceSpec{
				Group: gv[0], Version: gv[1], GroupPriorityMinimum: 100, VersionPriority: 100, InsecureSkipTLSVerify: true,
				Service: &apiregistrationv1.ServiceReference{Namespace: "one", Name: "adapter"},
			},
		}))
		c.available(gv[1]+"."+gv[0], "True Passed")
	}
	c.must(c.Create(c.ctx, deploymentOf("one", 1)))
	c.complete("one", 1)
	average := func(v string) autoscalingv2.MetricTarget {
		return autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: new(resource.MustParse(v))}
	}
	perPod.Store(10)
	c.must(c.Create(c.ctx, autoscaler("one", "web",
		autoscalingv2.MetricSpec{Type: autoscalingv2.PodsMetricSourceType, Pods: &autoscalingv2.PodsMetricSource{
			Metric: autoscalingv2.MetricIdentifier{Name: "queue"}, Target: average("10"),
		}},
		autoscalingv2.MetricSpec{Type: autoscalingv2.ObjectMetricSourceType, Object: &autoscalingv2.ObjectMetricSource{
			DescribedObject: autoscalingv2.CrossVersionObjectReference{APIVersion: "v1", Kind: "Service", Name: "web"},
			Metric:          autoscalingv2.MetricIdentifier{Name: "requests"}, Target: average("100"),
		}},
		autoscalingv2.MetricSpec{Type: autoscalingv2.ExternalMetricSourceType, External: &autoscalingv2.ExternalMetricSource{
			Metric: autoscalingv2.MetricIdentifier{Name: "jobs"}, Target: average("5"),
		}},
	)))
	outside.Store(15)
	c.scales("one", 3, "ScalingActive=True ValidMetricFound")
	ofService.Store(450)
	c.scales("one", 5, "ScalingActive=True ValidMetricFound")
	perPod.Store(12)
	c.scales("one", 6, "ScalingActive=True ValidMetricFound", "pods metric queue")
}

// adapter is an API server whose objects a function makes of their paths.
func adapter(object func(path string) any) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		var out any
		switch req.URL.Path {
		case "/apis/custom.metrics.k8s.io/v1beta2", "/apis/external.metrics.k8s.io/v1beta1":
			out = metav1.APIResourceList{GroupVersion: strings.TrimPrefix(req.URL.Path, "/apis/")}
		default:
			out = object(req.URL.Path)
		}
		if out == nil {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		_ = json.NewEncoder(w).Encode(out)
	})
}
