package autoscaling

import (
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"

	"github.com/gantryio/gantry/core/api"
)

const (
	defaultUtilization  = 80
	defaultPolicyPeriod = 15
)

// HorizontalPodAutoscalers is all that the server, the printer and the docs know of HorizontalPodAutoscaler.
var HorizontalPodAutoscalers = api.Kind[autoscalingv2.HorizontalPodAutoscaler]{
	Group: "autoscaling", Version: "v2", Name: "HorizontalPodAutoscaler", Plural: "horizontalpodautoscalers", Short: []string{"hpa"},
	Categories: []string{"all"}, Namespaced: true,
	Subresources: api.Status, StatusMetadata: true,
	Default:        defaultAutoscaler,
	Prepare:        func(h, _ *autoscalingv2.HorizontalPodAutoscaler) { h.Annotations = withoutRoundTrip(h.Annotations) },
	Validate:       validateAutoscaler,
	ValidateStatus: validateAutoscalerStatus,
	Columns: []api.Column[autoscalingv2.HorizontalPodAutoscaler]{
		api.NameColumn[autoscalingv2.HorizontalPodAutoscaler](),
		{Name: "Reference", Description: "What is scaled.", Cell: func(h *autoscalingv2.HorizontalPodAutoscaler) any {
			return h.Spec.ScaleTargetRef.Kind + "/" + h.Spec.ScaleTargetRef.Name
		}},
		{Name: "Targets", Description: "The metrics, as they are and as they should be.", Cell: func(h *autoscalingv2.HorizontalPodAutoscaler) any {
			return metricsText(h.Spec.Metrics, h.Status.CurrentMetrics)
		}},
		{Name: "MinPods", Description: "The lower limit of the number of pods.", Cell: func(h *autoscalingv2.HorizontalPodAutoscaler) any {
			return minimumText(h.Spec.MinReplicas)
		}},
		{Name: "MaxPods", Description: "The upper limit of the number of pods.", Cell: func(h *autoscalingv2.HorizontalPodAutoscaler) any { return int64(h.Spec.MaxReplicas) }},
		{Name: "Replicas", Description: "The number of pods.", Cell: func(h *autoscalingv2.HorizontalPodAutoscaler) any { return int64(h.Status.CurrentReplicas) }},
		api.AgeColumn[autoscalingv2.HorizontalPodAutoscaler](),
	},
}

func defaultAutoscaler(h *autoscalingv2.HorizontalPodAutoscaler) {
	s := &h.Spec
	if s.MinReplicas == nil {
		s.MinReplicas = new(int32(1))
	}
	if len(s.Metrics) == 0 {
		s.Metrics = []autoscalingv2.MetricSpec{cpuUtilization(defaultUtilization)}
	}
	if b := s.Behavior; b != nil {
		b.ScaleUp = filled(b.ScaleUp, ScaleUpRules())
		b.ScaleDown = filled(b.ScaleDown, ScaleDownRules())
	}
}

func cpuUtilization(percent int32) autoscalingv2.MetricSpec {
	return autoscalingv2.MetricSpec{
		Type: autoscalingv2.ResourceMetricSourceType,
		Resource: &autoscalingv2.ResourceMetricSource{
			Name:   corev1.ResourceCPU,
			Target: autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: &percent},
		},
	}
}

// ScaleUpRules are those of an autoscaler that gives none: at once, by four pods or by as many as there are in 15 seconds.
func ScaleUpRules() *autoscalingv2.HPAScalingRules {
	return &autoscalingv2.HPAScalingRules{
		StabilizationWindowSeconds: new(int32(0)),
		SelectPolicy:               new(autoscalingv2.MaxChangePolicySelect),
		Policies: []autoscalingv2.HPAScalingPolicy{
			{Type: autoscalingv2.PodsScalingPolicy, Value: 4, PeriodSeconds: defaultPolicyPeriod},
			{Type: autoscalingv2.PercentScalingPolicy, Value: 100, PeriodSeconds: defaultPolicyPeriod},
		},
	}
}

// ScaleDownRules are those of an autoscaler that gives none: all pods at once, after a time of stabilization that is the
// controller's to choose.
func ScaleDownRules() *autoscalingv2.HPAScalingRules {
	return &autoscalingv2.HPAScalingRules{
		SelectPolicy: new(autoscalingv2.MaxChangePolicySelect),
		Policies:     []autoscalingv2.HPAScalingPolicy{{Type: autoscalingv2.PercentScalingPolicy, Value: 100, PeriodSeconds: defaultPolicyPeriod}},
	}
}

// filled gives rules what they leave open.
func filled(rules, defaults *autoscalingv2.HPAScalingRules) *autoscalingv2.HPAScalingRules {
	if rules == nil {
		return defaults
	}
	if rules.StabilizationWindowSeconds == nil {
		rules.StabilizationWindowSeconds = defaults.StabilizationWindowSeconds
	}
	if rules.SelectPolicy == nil {
		rules.SelectPolicy = defaults.SelectPolicy
	}
	if rules.Policies == nil {
		rules.Policies = defaults.Policies
	}
	return rules
}
