package horizontalpodautoscaler

import (
	"errors"
	"fmt"
	"math"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// reading is what was measured for one metric: of pods by their names, or one value of something else. Values are
// thousandths.
type reading struct {
	pods  map[string]podMetric
	value int64
	err   error
}

// proposal is what one metric asks for.
type proposal struct {
	replicas int32
	// metric names it for people.
	metric string
	status autoscalingv2.MetricStatus
	// err is why there is none. Its cause is told in the condition, under the reason.
	err, cause error
	reason     string
}

// evaluate asks one metric.
func (s *state) evaluate(m *autoscalingv2.MetricSpec, r *reading) proposal {
	switch {
	case m.Type == autoscalingv2.ObjectMetricSourceType && m.Object != nil:
		return s.object(m.Object, r)
	case m.Type == autoscalingv2.PodsMetricSourceType && m.Pods != nil:
		return s.podsMetric(m.Pods, r)
	case m.Type == autoscalingv2.ResourceMetricSourceType && m.Resource != nil:
		p, current := s.usage(m.Resource.Name, "", &m.Resource.Target, r)
		p.reason = "FailedGetResourceMetric"
		p.wrap("failed to get %s resource metric value", m.Resource.Name)
		p.status = autoscalingv2.MetricStatus{
			Type: m.Type, Resource: &autoscalingv2.ResourceMetricStatus{Name: m.Resource.Name, Current: current},
		}
		return p
	case m.Type == autoscalingv2.ContainerResourceMetricSourceType && m.ContainerResource != nil:
		p, current := s.usage(m.ContainerResource.Name, m.ContainerResource.Container, &m.ContainerResource.Target, r)
		p.reason = "FailedGetContainerResourceMetric"
		p.wrap("failed to get %s container metric value", m.ContainerResource.Container)
		p.status = autoscalingv2.MetricStatus{Type: m.Type, ContainerResource: &autoscalingv2.ContainerResourceMetricStatus{
			Name: m.ContainerResource.Name, Container: m.ContainerResource.Container, Current: current,
		}}
		return p
	case m.Type == autoscalingv2.ExternalMetricSourceType && m.External != nil:
		return s.external(m.External, r)
	}
	err := fmt.Errorf("unknown metric source type %q", m.Type)
	return proposal{err: err, cause: err, reason: "InvalidMetricSourceType"}
}

// wrap says before the error what it kept from happening.
func (p *proposal) wrap(format string, args ...any) {
	if p.err != nil {
		p.err = fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), p.err)
	}
}

func failed(reason string, err error) proposal {
	return proposal{err: err, cause: err, reason: reason}
}

func milli(n int64) *resource.Quantity { return resource.NewMilliQuantity(n, resource.DecimalSI) }

func (s *state) object(m *autoscalingv2.ObjectMetricSource, r *reading) proposal {
	const reason, prefix = "FailedGetObjectMetric", "failed to get object metric value"
	status := &autoscalingv2.ObjectMetricStatus{
		DescribedObject: m.DescribedObject, Metric: autoscalingv2.MetricIdentifier{Name: m.Metric.Name, Selector: m.Metric.Selector},
	}
	out := proposal{
		metric: fmt.Sprintf("%s metric %s", m.DescribedObject.Kind, m.Metric.Name),
		status: autoscalingv2.MetricStatus{Type: autoscalingv2.ObjectMetricSourceType, Object: status},
	}
	err := r.err
	switch {
	case err != nil:
	case m.Target.Type == autoscalingv2.ValueMetricType && m.Target.Value != nil:
		out.replicas, err = s.byRatio(float64(r.value) / float64(m.Target.Value.MilliValue()))
		status.Current.Value = milli(r.value)
	case m.Target.Type == autoscalingv2.AverageValueMetricType && m.Target.AverageValue != nil:
		var average int64
		out.replicas, average = s.byAverage(r.value, m.Target.AverageValue.MilliValue())
		status.Current.AverageValue = milli(average)
	default:
		err = errors.New("invalid object metric source: neither a value target nor an average value target was set")
	}
	if err != nil {
		out = failed(reason, err)
		out.wrap(prefix)
	}
	return out
}

func (s *state) external(m *autoscalingv2.ExternalMetricSource, r *reading) proposal {
	const reason = "FailedGetExternalMetric"
	status := &autoscalingv2.ExternalMetricStatus{Metric: autoscalingv2.MetricIdentifier{Name: m.Metric.Name, Selector: m.Metric.Selector}}
	out := proposal{
		metric: fmt.Sprintf("external metric %s(%+v)", m.Metric.Name, m.Metric.Selector),
		status: autoscalingv2.MetricStatus{Type: autoscalingv2.ExternalMetricSourceType, External: status},
	}
	err := r.err
	switch {
	case err != nil:
	case m.Target.AverageValue != nil:
		var average int64
		out.replicas, average = s.byAverage(r.value, m.Target.AverageValue.MilliValue())
		status.Current.AverageValue = milli(average)
	case m.Target.Value != nil:
		out.replicas, err = s.byRatio(float64(r.value) / float64(m.Target.Value.MilliValue()))
		status.Current.Value = milli(r.value)
	default:
		err = errors.New("invalid external metric source: neither a value target nor an average value target was set")
	}
	if err != nil {
		out = failed(reason, err)
		out.wrap("failed to get %s external metric value", m.Metric.Name)
	}
	return out
}

func (s *state) podsMetric(m *autoscalingv2.PodsMetricSource, r *reading) proposal {
	const reason = "FailedGetPodsMetric"
	replicas, average, err := int32(0), int64(0), r.err
	if err == nil && m.Target.AverageValue == nil {
		err = errors.New("invalid pods metric source: no average value target was set")
	}
	if err == nil {
		replicas, average, err = s.byValues(r.pods, m.Target.AverageValue.MilliValue(), "")
	}
	if err != nil {
		out := failed(reason, err)
		out.wrap("failed to get pods metric value")
		return out
	}
	return proposal{
		replicas: replicas, metric: "pods metric " + m.Metric.Name,
		status: autoscalingv2.MetricStatus{Type: autoscalingv2.PodsMetricSourceType, Pods: &autoscalingv2.PodsMetricStatus{
			Metric:  autoscalingv2.MetricIdentifier{Name: m.Metric.Name, Selector: m.Metric.Selector},
			Current: autoscalingv2.MetricValueStatus{AverageValue: milli(average)},
		}},
	}
}

// usage is for what pods, or one container of each, use of a resource.
func (s *state) usage(name corev1.ResourceName, container string, target *autoscalingv2.MetricTarget, r *reading) (proposal, autoscalingv2.MetricValueStatus) {
	switch {
	case target.AverageValue != nil:
		replicas, average, err := int32(0), int64(0), r.err
		if err == nil {
			replicas, average, err = s.byValues(r.pods, target.AverageValue.MilliValue(), name)
		}
		if err != nil {
			return failed("", fmt.Errorf("failed to get %s usage: %w", name, err)), autoscalingv2.MetricValueStatus{}
		}
		metric := fmt.Sprintf("%s resource", name)
		if container != "" {
			metric = fmt.Sprintf("%s container resource", name)
		}
		return proposal{replicas: replicas, metric: metric}, autoscalingv2.MetricValueStatus{AverageValue: milli(average)}
	case target.AverageUtilization != nil:
		replicas, percent, average, err := int32(0), int32(0), int64(0), r.err
		if err == nil {
			replicas, percent, average, err = s.byUtilization(r.pods, *target.AverageUtilization, name, container)
		}
		if err != nil {
			return failed("", fmt.Errorf("failed to get %s utilization: %w", name, err)), autoscalingv2.MetricValueStatus{}
		}
		metric := fmt.Sprintf("%s resource utilization (percentage of request)", name)
		if container != "" {
			metric = fmt.Sprintf("%s container resource utilization (percentage of request)", name)
		}
		return proposal{replicas: replicas, metric: metric}, autoscalingv2.MetricValueStatus{AverageUtilization: &percent, AverageValue: milli(average)}
	}
	return failed("", errors.New("invalid resource metric source: neither an average utilization target nor an average value (usage) target was set")), autoscalingv2.MetricValueStatus{}
}

// tolerable tells that a ratio of what is to what should be is near enough to one.
func (s *state) tolerable(ratio float64) bool {
	up, down := s.Tolerance, s.Tolerance
	if b := s.hpa.Spec.Behavior; b != nil {
		if b.ScaleUp != nil && b.ScaleUp.Tolerance != nil {
			up = b.ScaleUp.Tolerance.AsApproximateFloat64()
		}
		if b.ScaleDown != nil && b.ScaleDown.Tolerance != nil {
			down = b.ScaleDown.Tolerance.AsApproximateFloat64()
		}
	}
	return ratio >= 1-down && ratio <= 1+up
}

// byRatio multiplies the number of ready pods. Without any replicas it is what the ratio alone asks for.
func (s *state) byRatio(ratio float64) (int32, error) {
	current := s.scale.Spec.Replicas
	switch {
	case current == 0:
		return saturated(math.Ceil(ratio)), nil
	case s.tolerable(ratio):
		return current, nil
	case len(s.pods) == 0:
		return 0, errors.New("unable to calculate ready pods: no pods returned by selector while calculating replica count")
	}
	ready := 0
	for _, pod := range s.pods {
		if c := readiness(pod); pod.Status.Phase == corev1.PodRunning && c != nil && c.Status == corev1.ConditionTrue {
			ready++
		}
	}
	return saturated(math.Ceil(ratio * float64(ready))), nil
}

// byAverage divides a value among pods. It returns their number and what each of those that there are has of it.
func (s *state) byAverage(value, target int64) (int32, int64) {
	replicas := s.scale.Status.Replicas
	each := value
	if replicas > 0 {
		each = int64(math.Ceil(float64(value) / float64(replicas)))
	}
	if s.tolerable(float64(value) / (float64(target) * float64(replicas))) {
		return replicas, each
	}
	return saturated(math.Ceil(float64(value) / float64(target))), each
}

func readiness(pod *corev1.Pod) *corev1.PodCondition {
	for i := range pod.Status.Conditions {
		if pod.Status.Conditions[i].Type == corev1.PodReady {
			return &pod.Status.Conditions[i]
		}
	}
	return nil
}
