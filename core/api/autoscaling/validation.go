package autoscaling

import (
	"fmt"
	"maps"
	"slices"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/api/validation/path"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

const (
	maxPeriodSeconds        = 1800
	maxStabilizationSeconds = 3600
)

func validateAutoscaler(h, old *autoscalingv2.HorizontalPodAutoscaler) field.ErrorList {
	p, s := field.NewPath("spec"), &h.Spec
	least := int32(1) // none is for what has none already, from a cluster that lets autoscalers scale to zero
	if old != nil && old.Spec.MinReplicas != nil && *old.Spec.MinReplicas == 0 {
		least = 0
	}
	var errs field.ErrorList
	if s.MinReplicas != nil && *s.MinReplicas < least {
		errs = append(errs, field.Invalid(p.Child("minReplicas"), *s.MinReplicas, fmt.Sprintf("must be greater than or equal to %d", least)))
	}
	if s.MaxReplicas < 1 {
		errs = append(errs, field.Invalid(p.Child("maxReplicas"), s.MaxReplicas, "must be greater than 0"))
	}
	if s.MinReplicas != nil && s.MaxReplicas < *s.MinReplicas {
		errs = append(errs, field.Invalid(p.Child("maxReplicas"), s.MaxReplicas, "must be greater than or equal to `minReplicas`"))
	}
	known := old != nil && old.Spec.ScaleTargetRef == s.ScaleTargetRef
	errs = append(errs, validateReference(&s.ScaleTargetRef, known, p.Child("scaleTargetRef"))...)
	errs = append(errs, validateMetrics(s, p.Child("metrics"))...)
	if s.Behavior != nil {
		errs = append(errs, validateRules(s.Behavior.ScaleUp, p.Child("behavior", "scaleUp"))...)
		errs = append(errs, validateRules(s.Behavior.ScaleDown, p.Child("behavior", "scaleDown"))...)
	}
	return errs
}

func validateAutoscalerStatus(h, _ *autoscalingv2.HorizontalPodAutoscaler) field.ErrorList {
	p := field.NewPath("status")
	errs := validation.ValidateNonnegativeField(int64(h.Status.CurrentReplicas), p.Child("currentReplicas"))
	return append(errs, validation.ValidateNonnegativeField(int64(h.Status.DesiredReplicas), p.Child("desiredReplicas"))...)
}

// validateReference lets a known apiVersion be, which was not always looked at.
func validateReference(ref *autoscalingv2.CrossVersionObjectReference, known bool, p *field.Path) field.ErrorList {
	errs := append(segment(ref.Kind, "", p.Child("kind")), segment(ref.Name, "", p.Child("name"))...)
	if _, err := schema.ParseGroupVersion(ref.APIVersion); err != nil && !known {
		errs = append(errs, field.Invalid(p.Child("apiVersion"), ref.APIVersion, err.Error()))
	}
	return errs
}

// segment checks a word that becomes a part of a URL.
func segment(word, missing string, p *field.Path) field.ErrorList {
	if word == "" {
		return field.ErrorList{field.Required(p, missing)}
	}
	var errs field.ErrorList
	for _, text := range path.IsValidPathSegmentName(word) {
		errs = append(errs, field.Invalid(p, word, text))
	}
	return errs
}

func validateMetrics(s *autoscalingv2.HorizontalPodAutoscalerSpec, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	outside := false
	for i := range s.Metrics {
		m := &s.Metrics[i]
		errs = append(errs, validateMetric(m, p.Index(i))...)
		outside = outside || m.Type == autoscalingv2.ObjectMetricSourceType || m.Type == autoscalingv2.ExternalMetricSourceType
	}
	if s.MinReplicas != nil && *s.MinReplicas == 0 && !outside {
		errs = append(errs, field.Forbidden(p, "must specify at least one Object or External metric to support scaling to zero replicas"))
	}
	return errs
}

// sources are the fields that a metric's type asks for.
var sources = map[autoscalingv2.MetricSourceType]string{
	autoscalingv2.ObjectMetricSourceType:            "object",
	autoscalingv2.PodsMetricSourceType:              "pods",
	autoscalingv2.ResourceMetricSourceType:          "resource",
	autoscalingv2.ExternalMetricSourceType:          "external",
	autoscalingv2.ContainerResourceMetricSourceType: "containerResource",
}

func validateMetric(m *autoscalingv2.MetricSpec, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	want, known := sources[m.Type]
	if m.Type == "" {
		errs = append(errs, field.Required(p.Child("type"), "must specify a metric source type"))
	} else if !known {
		errs = append(errs, field.NotSupported(p.Child("type"), m.Type, slices.Sorted(maps.Keys(sources))))
	}
	var given []string
	see := func(name string, set bool, check func(*field.Path) field.ErrorList) {
		if !set {
			return
		}
		if given = append(given, name); len(given) == 1 {
			errs = append(errs, check(p.Child(name))...)
		}
	}
	see("object", m.Object != nil, func(p *field.Path) field.ErrorList { return validateObject(m.Object, p) })
	see("external", m.External != nil, func(p *field.Path) field.ErrorList { return validateExternal(m.External, p) })
	see("pods", m.Pods != nil, func(p *field.Path) field.ErrorList { return validatePods(m.Pods, p) })
	see("resource", m.Resource != nil, func(p *field.Path) field.ErrorList {
		return append(resourceName(string(m.Resource.Name), p), validateUsage(&m.Resource.Target, p.Child("target"))...)
	})
	see("containerResource", m.ContainerResource != nil, func(p *field.Path) field.ErrorList { return validateContainer(m.ContainerResource, p) })
	if known && !slices.Contains(given, want) {
		errs = append(errs, field.Required(p.Child(want), "must populate information for the given metric source"))
	}
	if len(given) > 1 {
		for _, name := range given {
			if name != want {
				errs = append(errs, field.Forbidden(p.Child(name), "must populate the given metric source only"))
			}
		}
	}
	return errs
}

func validateObject(m *autoscalingv2.ObjectMetricSource, p *field.Path) field.ErrorList {
	errs := validateReference(&m.DescribedObject, true, p.Child("describedObject"))
	errs = append(errs, segment(m.Metric.Name, "must specify a metric name", p.Child("metric", "name"))...)
	errs = append(errs, validateTarget(&m.Target, p.Child("target"))...)
	if m.Target.Value == nil && m.Target.AverageValue == nil {
		errs = append(errs, field.Required(p.Child("target", "averageValue"), "must set either a target value or averageValue"))
	}
	return errs
}

func validateExternal(m *autoscalingv2.ExternalMetricSource, p *field.Path) field.ErrorList {
	errs := segment(m.Metric.Name, "must specify a metric name", p.Child("metric", "name"))
	errs = append(errs, validateTarget(&m.Target, p.Child("target"))...)
	switch value, average := m.Target.Value != nil, m.Target.AverageValue != nil; {
	case !value && !average:
		errs = append(errs, field.Required(p.Child("target", "averageValue"), "must set either a target value for metric or a per-pod target"))
	case value && average:
		errs = append(errs, field.Forbidden(p.Child("target", "value"), "may not set both a target value for metric and a per-pod target"))
	}
	return errs
}

func validatePods(m *autoscalingv2.PodsMetricSource, p *field.Path) field.ErrorList {
	errs := segment(m.Metric.Name, "must specify a metric name", p.Child("metric", "name"))
	errs = append(errs, validateTarget(&m.Target, p.Child("target"))...)
	if m.Target.AverageValue == nil {
		errs = append(errs, field.Required(p.Child("target", "averageValue"), "must specify a positive target averageValue"))
	}
	return errs
}

func validateContainer(m *autoscalingv2.ContainerResourceMetricSource, p *field.Path) field.ErrorList {
	errs := resourceName(string(m.Name), p)
	if m.Container == "" {
		errs = append(errs, field.Required(p.Child("container"), "must specify a container"))
	} else {
		for _, text := range utilvalidation.IsDNS1123Label(m.Container) {
			errs = append(errs, field.Invalid(p.Child("container"), m.Container, text))
		}
	}
	return append(errs, validateUsage(&m.Target, p.Child("target"))...)
}

func resourceName(name string, p *field.Path) field.ErrorList {
	if name == "" {
		return field.ErrorList{field.Required(p.Child("name"), "must specify a resource name")}
	}
	return nil
}

// validateUsage checks the target of what pods are given and use.
func validateUsage(t *autoscalingv2.MetricTarget, p *field.Path) field.ErrorList {
	errs := validateTarget(t, p)
	switch part, value := t.AverageUtilization != nil, t.AverageValue != nil; {
	case !part && !value:
		errs = append(errs, field.Required(p.Child("averageUtilization"), "must set either a target raw value or a target utilization"))
	case part && value:
		errs = append(errs, field.Forbidden(p.Child("averageValue"), "may not set both a target raw value and a target utilization"))
	}
	return errs
}

func validateTarget(t *autoscalingv2.MetricTarget, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	switch t.Type {
	case autoscalingv2.UtilizationMetricType, autoscalingv2.ValueMetricType, autoscalingv2.AverageValueMetricType:
	case "":
		errs = append(errs, field.Required(p.Child("type"), "must specify a metric target type"))
		fallthrough
	default:
		errs = append(errs, field.Invalid(p.Child("type"), t.Type, "must be either Utilization, Value, or AverageValue"))
	}
	if t.Value != nil && t.Value.Sign() != 1 {
		errs = append(errs, field.Invalid(p.Child("value"), t.Value.String(), "must be positive"))
	}
	if t.AverageValue != nil && t.AverageValue.Sign() != 1 {
		errs = append(errs, field.Invalid(p.Child("averageValue"), t.AverageValue.String(), "must be positive"))
	}
	if t.AverageUtilization != nil && *t.AverageUtilization < 1 {
		errs = append(errs, field.Invalid(p.Child("averageUtilization"), *t.AverageUtilization, "must be greater than 0"))
	}
	return errs
}

func validateRules(r *autoscalingv2.HPAScalingRules, p *field.Path) field.ErrorList {
	if r == nil {
		return nil
	}
	var errs field.ErrorList
	if w := r.StabilizationWindowSeconds; w != nil && *w < 0 {
		errs = append(errs, field.Invalid(p.Child("stabilizationWindowSeconds"), *w, "must be greater than or equal to zero"))
	} else if w != nil && *w > maxStabilizationSeconds {
		errs = append(errs, field.Invalid(p.Child("stabilizationWindowSeconds"), *w, fmt.Sprintf("must be less than or equal to %d", maxStabilizationSeconds)))
	}
	selects := []autoscalingv2.ScalingPolicySelect{autoscalingv2.DisabledPolicySelect, autoscalingv2.MaxChangePolicySelect, autoscalingv2.MinChangePolicySelect}
	if r.SelectPolicy != nil && !slices.Contains(selects, *r.SelectPolicy) {
		errs = append(errs, field.NotSupported(p.Child("selectPolicy"), *r.SelectPolicy, selects))
	}
	if len(r.Policies) == 0 {
		errs = append(errs, field.Required(p.Child("policies"), "must specify at least one Policy"))
	}
	for i := range r.Policies {
		errs = append(errs, validatePolicy(&r.Policies[i], p.Child("policies").Index(i))...)
	}
	if r.Tolerance != nil && r.Tolerance.Sign() < 0 {
		errs = append(errs, field.Invalid(p.Child("tolerance"), r.Tolerance.String(), validation.IsNegativeErrorMsg))
	}
	return errs
}

func validatePolicy(policy *autoscalingv2.HPAScalingPolicy, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	types := []autoscalingv2.HPAScalingPolicyType{autoscalingv2.PercentScalingPolicy, autoscalingv2.PodsScalingPolicy}
	if !slices.Contains(types, policy.Type) {
		errs = append(errs, field.NotSupported(p.Child("type"), policy.Type, types))
	}
	if policy.Value <= 0 {
		errs = append(errs, field.Invalid(p.Child("value"), policy.Value, "must be greater than zero"))
	}
	if policy.PeriodSeconds <= 0 {
		errs = append(errs, field.Invalid(p.Child("periodSeconds"), policy.PeriodSeconds, "must be greater than zero"))
	}
	if policy.PeriodSeconds > maxPeriodSeconds {
		errs = append(errs, field.Invalid(p.Child("periodSeconds"), policy.PeriodSeconds, fmt.Sprintf("must be less than or equal to %d", maxPeriodSeconds)))
	}
	return errs
}
