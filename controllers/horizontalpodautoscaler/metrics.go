package horizontalpodautoscaler

import (
	"context"
	"errors"
	"fmt"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/metrics/pkg/apis/custom_metrics/v1beta2"
	metricsv1beta1 "k8s.io/metrics/pkg/apis/metrics/v1beta1"
	custommetrics "k8s.io/metrics/pkg/client/custom_metrics"
	externalmetrics "k8s.io/metrics/pkg/client/external_metrics"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Metrics reads what there is to go by.
type Metrics struct {
	// Usage reads metrics.k8s.io.
	Usage client.Reader
	// Custom and External read custom.metrics.k8s.io and external.metrics.k8s.io; nil where nobody serves these.
	Custom   custommetrics.CustomMetricsClient
	External externalmetrics.ExternalMetricsClient
}

// customWindow is the window of a metric that does not tell its own.
const customWindow = time.Minute

// read reads one metric of an autoscaler in a namespace whose target's pods are those of the selector.
func (m *Metrics) read(ctx context.Context, namespace string, pods labels.Selector, spec *autoscalingv2.MetricSpec) reading {
	switch {
	case spec.Resource != nil && spec.Type == autoscalingv2.ResourceMetricSourceType:
		return m.usage(ctx, namespace, pods, spec.Resource.Name, "")
	case spec.ContainerResource != nil && spec.Type == autoscalingv2.ContainerResourceMetricSourceType:
		return m.usage(ctx, namespace, pods, spec.ContainerResource.Name, spec.ContainerResource.Container)
	case spec.Pods != nil && spec.Type == autoscalingv2.PodsMetricSourceType:
		return m.ofPods(namespace, pods, &spec.Pods.Metric)
	case spec.Object != nil && spec.Type == autoscalingv2.ObjectMetricSourceType:
		return m.ofObject(namespace, &spec.Object.DescribedObject, &spec.Object.Metric)
	case spec.External != nil && spec.Type == autoscalingv2.ExternalMetricSourceType:
		return m.outside(namespace, &spec.External.Metric)
	}
	return reading{} // evaluate says what is wrong with it
}

func (m *Metrics) usage(ctx context.Context, namespace string, pods labels.Selector, name corev1.ResourceName, container string) reading {
	refuse := func(err error) reading {
		return reading{err: fmt.Errorf("unable to get metrics for resource %s: %w", name, err)}
	}
	var list metricsv1beta1.PodMetricsList
	if err := m.Usage.List(ctx, &list, client.InNamespace(namespace), client.MatchingLabelsSelector{Selector: pods}); err != nil {
		return refuse(fmt.Errorf("unable to fetch metrics from resource metrics API: %w", err))
	}
	if len(list.Items) == 0 {
		return refuse(errors.New("no metrics returned from resource metrics API"))
	}
	out, err := usageOf(list.Items, name, container)
	if err != nil {
		return refuse(fmt.Errorf("failed to get container metrics: %w", err))
	}
	return reading{pods: out}
}

// usageOf sums up the containers of each pod, or takes one of each. A pod of which one container's figure is missing is
// missing itself.
func usageOf(items []metricsv1beta1.PodMetrics, name corev1.ResourceName, container string) (map[string]podMetric, error) {
	out := map[string]podMetric{}
	for i := range items {
		pod := &items[i]
		sum, found, whole := int64(0), false, true
		for j := range pod.Containers {
			c := &pod.Containers[j]
			if container != "" && c.Name != container {
				continue
			}
			q, ok := c.Usage[name]
			found, whole = true, whole && ok
			sum += q.MilliValue()
		}
		if container != "" && !found {
			return nil, fmt.Errorf("container %s not present in metrics for pod %s/%s", container, pod.Namespace, pod.Name)
		}
		if found && whole {
			out[pod.Name] = podMetric{value: sum, at: pod.Timestamp.Time, window: pod.Window.Duration}
		}
	}
	return out, nil
}

var errNoCustom = errors.New("no custom metrics API (custom.metrics.k8s.io) registered")

func (m *Metrics) ofPods(namespace string, pods labels.Selector, id *autoscalingv2.MetricIdentifier) reading {
	list, err := func() (*v1beta2.MetricValueList, error) {
		selector, err := metav1.LabelSelectorAsSelector(id.Selector)
		if err != nil {
			return nil, err
		}
		if m.Custom == nil {
			return nil, fmt.Errorf("unable to fetch metrics from custom metrics API: %w", errNoCustom)
		}
		list, err := m.Custom.NamespacedMetrics(namespace).GetForObjects(schema.GroupKind{Kind: "Pod"}, pods, id.Name, selector)
		if err != nil {
			return nil, fmt.Errorf("unable to fetch metrics from custom metrics API: %w", err)
		}
		if len(list.Items) == 0 {
			return nil, errors.New("no metrics returned from custom metrics API")
		}
		return list, nil
	}()
	if err != nil {
		return reading{err: fmt.Errorf("unable to get metric %s: %w", id.Name, err)}
	}
	out := map[string]podMetric{}
	for i := range list.Items {
		v := &list.Items[i]
		window := customWindow
		if v.WindowSeconds != nil {
			window = time.Duration(*v.WindowSeconds) * time.Second
		}
		out[v.DescribedObject.Name] = podMetric{value: v.Value.MilliValue(), at: v.Timestamp.Time, window: window}
	}
	return reading{pods: out}
}

func (m *Metrics) ofObject(namespace string, ref *autoscalingv2.CrossVersionObjectReference, id *autoscalingv2.MetricIdentifier) reading {
	value, err := func() (*v1beta2.MetricValue, error) {
		selector, err := metav1.LabelSelectorAsSelector(id.Selector)
		if err != nil {
			return nil, err
		}
		kind := schema.FromAPIVersionAndKind(ref.APIVersion, ref.Kind).GroupKind()
		if m.Custom == nil {
			err = errNoCustom
		}
		var value *v1beta2.MetricValue
		switch {
		case err != nil:
		case kind == schema.GroupKind{Kind: "Namespace"}:
			// A namespace can only be asked about itself.
			value, err = m.Custom.RootScopedMetrics().GetForObject(kind, namespace, id.Name, selector)
		default:
			value, err = m.Custom.NamespacedMetrics(namespace).GetForObject(kind, ref.Name, id.Name, selector)
		}
		if err != nil {
			return nil, fmt.Errorf("unable to fetch metrics from custom metrics API: %w", err)
		}
		return value, nil
	}()
	if err != nil {
		return reading{err: fmt.Errorf("unable to get metric %s: %w on %s %s/%s", id.Name, err, ref.Kind, namespace, ref.Name)}
	}
	return reading{value: value.Value.MilliValue()}
}

func (m *Metrics) outside(namespace string, id *autoscalingv2.MetricIdentifier) reading {
	value, err := func() (int64, error) {
		selector, err := metav1.LabelSelectorAsSelector(id.Selector)
		if err != nil {
			return 0, err
		}
		if m.External == nil {
			return 0, fmt.Errorf("unable to fetch metrics from external metrics API: the server could not find the requested resource (get %s.external.metrics.k8s.io)", id.Name)
		}
		list, err := m.External.NamespacedMetrics(namespace).List(id.Name, selector)
		if err != nil {
			return 0, fmt.Errorf("unable to fetch metrics from external metrics API: %w", err)
		}
		if len(list.Items) == 0 {
			return 0, errors.New("no metrics returned from external metrics API")
		}
		sum := int64(0)
		for i := range list.Items {
			sum += list.Items[i].Value.MilliValue()
		}
		return sum, nil
	}()
	if err != nil {
		return reading{err: fmt.Errorf("unable to get external metric %s/%s/%+v: %w", namespace, id.Name, id.Selector, err)}
	}
	return reading{value: value}
}
