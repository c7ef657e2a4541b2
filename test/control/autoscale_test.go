package control

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metricsv1beta1 "k8s.io/metrics/pkg/apis/metrics/v1beta1"
	ctrlclient "sigs.k8s.io/controller-runtime/pkg/client"
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
