package horizontalpodautoscaler

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/metrics/pkg/apis/custom_metrics/v1beta2"
	externalv1beta1 "k8s.io/metrics/pkg/apis/external_metrics/v1beta1"
	metricsv1beta1 "k8s.io/metrics/pkg/apis/metrics/v1beta1"
	custommetrics "k8s.io/metrics/pkg/client/custom_metrics"
	externalmetrics "k8s.io/metrics/pkg/client/external_metrics"
)

func measured(name string, containers ...metricsv1beta1.ContainerMetrics) metricsv1beta1.PodMetrics {
	return metricsv1beta1.PodMetrics{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}, Timestamp: metav1.NewTime(start),
		Window: metav1.Duration{Duration: 15 * time.Second}, Containers: containers,
	}
}

func uses(name, cpu string) metricsv1beta1.ContainerMetrics {
	return metricsv1beta1.ContainerMetrics{Name: name, Usage: corev1.ResourceList{corev1.ResourceCPU: *quantity(cpu)}}
}

func TestUsageOf(t *testing.T) {
	items := []metricsv1beta1.PodMetrics{measured("a", uses("main", "100m"), uses("side", "50m")), measured("b", uses("main", "1"), uses("side", "1500000n")), measured("new")}
	of := func(value int64) podMetric { return podMetric{value: value, at: start, window: 15 * time.Second} }
	for _, tc := range []struct {
		name, container string
		resource        corev1.ResourceName
		items           []metricsv1beta1.PodMetrics
		want            map[string]podMetric
		err             string
	}{
		{"all containers", "", corev1.ResourceCPU, items, map[string]podMetric{"a": of(150), "b": of(1002)}, ""},
		{"one container", "side", corev1.ResourceCPU, items[:2], map[string]podMetric{"a": of(50), "b": of(2)}, ""},
		{"of something else", "", corev1.ResourceMemory, items, map[string]podMetric{}, ""},
		{"a container that is not there", "side", corev1.ResourceCPU, items, nil, "container side not present in metrics for pod default/new"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := usageOf(tc.items, tc.resource, tc.container)
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(podMetric{})); diff != "" || errText(err) != tc.err {
				t.Errorf("%s%q, want %q", diff, errText(err), tc.err)
			}
		})
	}
}

// custom answers with the metrics of whatever is asked about, and keeps the question.
type custom struct {
	namespace string
	asked     *[]string
	values    []v1beta2.MetricValue
	err       error
}

func (c custom) RootScopedMetrics() custommetrics.MetricsInterface { return c }

func (c custom) NamespacedMetrics(ns string) custommetrics.MetricsInterface {
	c.namespace = ns
	return c
}

func (c custom) GetForObject(kind schema.GroupKind, name, metric string, selector labels.Selector) (*v1beta2.MetricValue, error) {
	*c.asked = append(*c.asked, c.namespace, kind.String(), name, metric, selector.String())
	if c.err != nil {
		return nil, c.err
	}
	return &c.values[0], nil
}

func (c custom) GetForObjects(kind schema.GroupKind, pods labels.Selector, metric string, selector labels.Selector) (*v1beta2.MetricValueList, error) {
	*c.asked = append(*c.asked, c.namespace, kind.String(), pods.String(), metric, selector.String())
	return &v1beta2.MetricValueList{Items: c.values}, c.err
}

type external struct {
	values []string
	err    error
}

func (e external) NamespacedMetrics(string) externalmetrics.MetricsInterface { return e }

func (e external) List(string, labels.Selector) (*externalv1beta1.ExternalMetricValueList, error) {
	out := &externalv1beta1.ExternalMetricValueList{}
	for _, v := range e.values {
		out.Items = append(out.Items, externalv1beta1.ExternalMetricValue{Value: *quantity(v)})
	}
	return out, e.err
}

func TestOtherMetrics(t *testing.T) {
	value := func(pod, q string, window *int64) v1beta2.MetricValue {
		return v1beta2.MetricValue{DescribedObject: corev1.ObjectReference{Name: pod}, Value: *quantity(q), Timestamp: metav1.NewTime(start), WindowSeconds: window}
	}
	two := []v1beta2.MetricValue{value("a", "1500m", nil), value("b", "2", new(int64(10)))}
	broken := errors.New("no such metric")
	onNamespace := objectMetric.DeepCopy()
	onNamespace.Object.DescribedObject = autoscalingv2.CrossVersionObjectReference{Kind: "Namespace", Name: "other", APIVersion: "v1"}
	for _, tc := range []struct {
		name   string
		spec   *autoscalingv2.MetricSpec
		custom *custom
		ext    *external
		want   reading
		asked  []string
		err    string
	}{
		{"of pods", &podsMetric, &custom{values: two}, nil, reading{pods: map[string]podMetric{
			"a": {value: 1500, at: start, window: time.Minute}, "b": {value: 2000, at: start, window: 10 * time.Second},
		}}, []string{"default", "Pod", "app=web", "requests", ""}, ""},
		{"of no pods", &podsMetric, &custom{}, nil, reading{}, []string{"default", "Pod", "app=web", "requests", ""}, "unable to get metric requests: no metrics returned from custom metrics API"},
		{"of pods, broken", &podsMetric, &custom{err: broken}, nil, reading{}, []string{"default", "Pod", "app=web", "requests", ""}, "unable to get metric requests: unable to fetch metrics from custom metrics API: no such metric"},
		{"of pods, not served", &podsMetric, nil, nil, reading{}, nil, "unable to get metric requests: unable to fetch metrics from custom metrics API: no custom metrics API (custom.metrics.k8s.io) registered"},
		{"of an object", &objectMetric, &custom{values: two}, nil, reading{value: 1500}, []string{"default", "Service", "web", "queue", ""}, ""},
		{"of the namespace", onNamespace, &custom{values: two}, nil, reading{value: 1500}, []string{"", "Namespace", "default", "queue", ""}, ""},
		{"of an object, broken", &objectMetric, &custom{err: broken}, nil, reading{}, []string{"default", "Service", "web", "queue", ""}, "unable to get metric queue: unable to fetch metrics from custom metrics API: no such metric on Service default/web"},
		{"of an object, not served", &objectMetric, nil, nil, reading{}, nil, "unable to get metric queue: unable to fetch metrics from custom metrics API: no custom metrics API (custom.metrics.k8s.io) registered on Service default/web"},
		{"from outside", &externalMetric, nil, &external{values: []string{"1", "2500m"}}, reading{value: 3500}, nil, ""},
		{"nothing from outside", &externalMetric, nil, &external{}, reading{}, nil, "unable to get external metric default/jobs/nil: no metrics returned from external metrics API"},
		{"from outside, not served", &externalMetric, nil, nil, reading{}, nil, "unable to get external metric default/jobs/nil: unable to fetch metrics from external metrics API: the server could not find the requested resource (get jobs.external.metrics.k8s.io)"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var m Metrics
			var asked []string
			if tc.custom != nil {
				tc.custom.asked = &asked
				m.Custom = *tc.custom
			}
			if tc.ext != nil {
				m.External = *tc.ext
			}
			got := m.read(t.Context(), "default", labels.SelectorFromSet(labels.Set{"app": "web"}), tc.spec)
			if errText(got.err) != tc.err {
				t.Errorf("error %q, want %q", errText(got.err), tc.err)
			}
			got.err = nil
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(reading{}, podMetric{})); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(tc.asked, asked); diff != "" {
				t.Errorf("asked: %s", diff)
			}
		})
	}
}
