package autoscaling

import (
	"encoding/json"
	"maps"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/gantryio/gantry/core/api"
)

// What version 1 has no fields for, it carries in annotations. They are of that version only: they are made when an object
// is shown, and read and dropped when one comes in.
const (
	metricsAnnotation    = "autoscaling.alpha.kubernetes.io/metrics"
	currentAnnotation    = "autoscaling.alpha.kubernetes.io/current-metrics"
	conditionsAnnotation = "autoscaling.alpha.kubernetes.io/conditions"
	behaviorAnnotation   = "autoscaling.alpha.kubernetes.io/behavior"
)

// HorizontalPodAutoscalersV1 serves HorizontalPodAutoscaler as autoscaling/v1.
var HorizontalPodAutoscalersV1 = api.Version[autoscalingv1.HorizontalPodAutoscaler, autoscalingv2.HorizontalPodAutoscaler]{
	Of: HorizontalPodAutoscalers, Version: "v1",
	Default: func(h *autoscalingv1.HorizontalPodAutoscaler) {
		if h.Spec.MinReplicas == nil {
			h.Spec.MinReplicas = new(int32(1))
		}
	},
	ToStored:   fromV1,
	FromStored: toV1,
}

// withoutRoundTrip returns the annotations without those of version 1; the map that it is given stays as it is.
func withoutRoundTrip(annotations map[string]string) map[string]string {
	ours := func(key, _ string) bool {
		return key == metricsAnnotation || key == currentAnnotation || key == conditionsAnnotation || key == behaviorAnnotation
	}
	for key := range annotations {
		if ours(key, "") {
			rest := maps.Clone(annotations)
			if maps.DeleteFunc(rest, ours); len(rest) == 0 {
				return nil
			}
			return rest
		}
	}
	return annotations
}

func fromV1(in *autoscalingv1.HorizontalPodAutoscaler) *autoscalingv2.HorizontalPodAutoscaler {
	out := &autoscalingv2.HorizontalPodAutoscaler{ObjectMeta: in.ObjectMeta}
	out.Annotations = withoutRoundTrip(in.Annotations)
	out.Spec = autoscalingv2.HorizontalPodAutoscalerSpec{
		ScaleTargetRef: autoscalingv2.CrossVersionObjectReference(in.Spec.ScaleTargetRef),
		MinReplicas:    in.Spec.MinReplicas, MaxReplicas: in.Spec.MaxReplicas,
		Behavior: readBehavior(in.Annotations[behaviorAnnotation]),
	}
	for _, m := range read[autoscalingv1.MetricSpec](in.Annotations[metricsAnnotation]) {
		out.Spec.Metrics = append(out.Spec.Metrics, metricFromV1(&m))
	}
	if percent := in.Spec.TargetCPUUtilizationPercentage; percent != nil {
		out.Spec.Metrics = append(out.Spec.Metrics, cpuUtilization(*percent))
	}
	out.Status = autoscalingv2.HorizontalPodAutoscalerStatus{
		ObservedGeneration: in.Status.ObservedGeneration, LastScaleTime: in.Status.LastScaleTime,
		CurrentReplicas: in.Status.CurrentReplicas, DesiredReplicas: in.Status.DesiredReplicas,
	}
	for _, m := range read[autoscalingv1.MetricStatus](in.Annotations[currentAnnotation]) {
		out.Status.CurrentMetrics = append(out.Status.CurrentMetrics, statusFromV1(&m))
	}
	if percent := in.Status.CurrentCPUUtilizationPercentage; percent != nil && out.Status.CurrentMetrics == nil {
		out.Status.CurrentMetrics = []autoscalingv2.MetricStatus{{
			Type: autoscalingv2.ResourceMetricSourceType,
			Resource: &autoscalingv2.ResourceMetricStatus{
				Name: corev1.ResourceCPU, Current: autoscalingv2.MetricValueStatus{AverageUtilization: percent},
			},
		}}
	}
	for _, c := range read[autoscalingv1.HorizontalPodAutoscalerCondition](in.Annotations[conditionsAnnotation]) {
		out.Status.Conditions = append(out.Status.Conditions, autoscalingv2.HorizontalPodAutoscalerCondition{
			Type: autoscalingv2.HorizontalPodAutoscalerConditionType(c.Type), Status: c.Status, LastTransitionTime: c.LastTransitionTime,
			Reason: c.Reason, Message: c.Message, ObservedGeneration: c.ObservedGeneration,
		})
	}
	return out
}

func toV1(in *autoscalingv2.HorizontalPodAutoscaler) *autoscalingv1.HorizontalPodAutoscaler {
	out := &autoscalingv1.HorizontalPodAutoscaler{ObjectMeta: in.ObjectMeta}
	out.Annotations = withoutRoundTrip(in.Annotations)
	out.Spec = autoscalingv1.HorizontalPodAutoscalerSpec{
		ScaleTargetRef: autoscalingv1.CrossVersionObjectReference(in.Spec.ScaleTargetRef),
		MinReplicas:    in.Spec.MinReplicas, MaxReplicas: in.Spec.MaxReplicas,
	}
	var others []autoscalingv1.MetricSpec
	for i := range in.Spec.Metrics {
		m := &in.Spec.Metrics[i]
		if m.Type != autoscalingv2.ResourceMetricSourceType || m.Resource == nil || m.Resource.Name != corev1.ResourceCPU || m.Resource.Target.AverageUtilization == nil {
			others = append(others, metricToV1(m))
		} else if out.Spec.TargetCPUUtilizationPercentage == nil {
			out.Spec.TargetCPUUtilizationPercentage = m.Resource.Target.AverageUtilization
		}
	}
	out.Status = autoscalingv1.HorizontalPodAutoscalerStatus{
		ObservedGeneration: in.Status.ObservedGeneration, LastScaleTime: in.Status.LastScaleTime,
		CurrentReplicas: in.Status.CurrentReplicas, DesiredReplicas: in.Status.DesiredReplicas,
	}
	var current []autoscalingv1.MetricStatus
	for i := range in.Status.CurrentMetrics {
		m := &in.Status.CurrentMetrics[i]
		current = append(current, statusToV1(m))
		if m.Type == autoscalingv2.ResourceMetricSourceType && m.Resource != nil && m.Resource.Name == corev1.ResourceCPU && m.Resource.Current.AverageUtilization != nil {
			out.Status.CurrentCPUUtilizationPercentage = m.Resource.Current.AverageUtilization
		}
	}
	var conditions []autoscalingv1.HorizontalPodAutoscalerCondition
	for _, c := range in.Status.Conditions {
		conditions = append(conditions, autoscalingv1.HorizontalPodAutoscalerCondition{
			Type: autoscalingv1.HorizontalPodAutoscalerConditionType(c.Type), Status: c.Status, LastTransitionTime: c.LastTransitionTime,
			Reason: c.Reason, Message: c.Message, ObservedGeneration: c.ObservedGeneration,
		})
	}
	annotate(out, metricsAnnotation, others, len(others) > 0)
	annotate(out, currentAnnotation, current, len(current) > 0)
	annotate(out, conditionsAnnotation, conditions, len(conditions) > 0)
	annotate(out, behaviorAnnotation, behaviorText(in.Spec.Behavior), in.Spec.Behavior != nil)
	return out
}

// annotate adds an annotation to a map that may be another object's.
func annotate(h *autoscalingv1.HorizontalPodAutoscaler, key string, value any, set bool) {
	if !set {
		return
	}
	data, err := json.Marshal(value)
	if err != nil {
		return // plain structs
	}
	annotations := make(map[string]string, len(h.Annotations)+1)
	maps.Copy(annotations, h.Annotations)
	annotations[key] = string(data)
	h.Annotations = annotations
}

// read takes what is not to be read for nothing, as Kubernetes does.
func read[T any](text string) []T {
	var out []T
	if text == "" || json.Unmarshal([]byte(text), &out) != nil {
		return nil
	}
	return out
}

// behavior is how the annotation writes the field: in the words of Kubernetes' inner type, which has no JSON names.
type behavior struct{ ScaleUp, ScaleDown *rules }

type rules struct {
	StabilizationWindowSeconds *int32
	SelectPolicy               *autoscalingv2.ScalingPolicySelect
	Policies                   []policy
	Tolerance                  *resource.Quantity
}

type policy struct {
	Type          autoscalingv2.HPAScalingPolicyType
	Value         int32
	PeriodSeconds int32
}

func behaviorText(b *autoscalingv2.HorizontalPodAutoscalerBehavior) *behavior {
	if b == nil {
		return nil
	}
	return &behavior{ScaleUp: rulesText(b.ScaleUp), ScaleDown: rulesText(b.ScaleDown)}
}

func rulesText(r *autoscalingv2.HPAScalingRules) *rules {
	if r == nil {
		return nil
	}
	out := &rules{StabilizationWindowSeconds: r.StabilizationWindowSeconds, SelectPolicy: r.SelectPolicy, Tolerance: r.Tolerance}
	for _, p := range r.Policies {
		out.Policies = append(out.Policies, policy{p.Type, p.Value, p.PeriodSeconds})
	}
	return out
}

func readBehavior(text string) *autoscalingv2.HorizontalPodAutoscalerBehavior {
	var in *behavior
	if text == "" || json.Unmarshal([]byte(text), &in) != nil || in == nil {
		return nil
	}
	return &autoscalingv2.HorizontalPodAutoscalerBehavior{ScaleUp: in.ScaleUp.read(), ScaleDown: in.ScaleDown.read()}
}

func (r *rules) read() *autoscalingv2.HPAScalingRules {
	if r == nil {
		return nil
	}
	out := &autoscalingv2.HPAScalingRules{StabilizationWindowSeconds: r.StabilizationWindowSeconds, SelectPolicy: r.SelectPolicy, Tolerance: r.Tolerance}
	for _, p := range r.Policies {
		out.Policies = append(out.Policies, autoscalingv2.HPAScalingPolicy{Type: p.Type, Value: p.Value, PeriodSeconds: p.PeriodSeconds})
	}
	return out
}
