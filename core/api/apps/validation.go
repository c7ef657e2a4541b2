package apps

import (
	"fmt"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api/core"
)

func nonNegative(value int32, p *field.Path) field.ErrorList {
	return validation.ValidateNonnegativeField(int64(value), p)
}

// validateSelector needs a selector that picks something, so that a workload never takes all pods.
func validateSelector(s *metav1.LabelSelector, kind string, p *field.Path) (labels.Selector, field.ErrorList) {
	if s == nil {
		return nil, field.ErrorList{field.Required(p, "")}
	}
	errs := metavalidation.ValidateLabelSelector(s, metavalidation.LabelSelectorValidationOptions{}, p)
	if len(s.MatchLabels)+len(s.MatchExpressions) == 0 {
		errs = append(errs, field.Invalid(p, s, fmt.Sprintf("empty selector is invalid for %s", kind)))
	}
	selector, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		return nil, append(errs, field.Invalid(p, s, "invalid label selector"))
	}
	return selector, errs
}

// validateTemplate checks the pods that a workload which never ends makes; kind is what refusals name.
func validateTemplate(kind string, t *corev1.PodTemplateSpec, selector labels.Selector, replicas int32, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	if selector != nil && !selector.Empty() && !selector.Matches(labels.Set(t.Labels)) {
		errs = append(errs, field.Invalid(p.Child("metadata", "labels"), t.Labels, "`selector` does not match template `labels`"))
	}
	errs = append(errs, core.ValidatePodTemplate(t, p)...)
	if replicas > 1 {
		errs = append(errs, oneWriter(t.Spec.Volumes, p.Child("spec", "volumes"))...)
	}
	if t.Spec.RestartPolicy != corev1.RestartPolicyAlways {
		errs = append(errs, field.NotSupported(p.Child("spec", "restartPolicy"), t.Spec.RestartPolicy, []corev1.RestartPolicy{corev1.RestartPolicyAlways}))
	}
	if t.Spec.ActiveDeadlineSeconds != nil {
		errs = append(errs, field.Forbidden(p.Child("spec", "activeDeadlineSeconds"), fmt.Sprintf("activeDeadlineSeconds in %s is not Supported", kind)))
	}
	return errs
}

// oneWriter refuses several replicas that would write one cloud disk, which no two nodes can attach.
func oneWriter(volumes []corev1.Volume, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := range volumes {
		if d := volumes[i].GCEPersistentDisk; d != nil && !d.ReadOnly {
			errs = append(errs, field.Invalid(p.Index(i).Child("gcePersistentDisk", "readOnly"), false,
				"must be true for replicated pods > 1; GCE PD can only be mounted on multiple machines if it is read-only"))
		}
	}
	return errs
}

func validateDeployment(d, old *appsv1.Deployment) field.ErrorList {
	p, spec := field.NewPath("spec"), &d.Spec
	errs := nonNegative(replicasOf(spec.Replicas), p.Child("replicas"))
	selector, wrong := validateSelector(spec.Selector, "deployment", p.Child("selector"))
	errs = append(errs, wrong...)
	errs = append(errs, validateTemplate("ReplicaSet", &spec.Template, selector, replicasOf(spec.Replicas), p.Child("template"))...)
	errs = append(errs, validateStrategy(&spec.Strategy, p.Child("strategy"))...)
	errs = append(errs, nonNegative(spec.MinReadySeconds, p.Child("minReadySeconds"))...)
	if spec.RevisionHistoryLimit != nil {
		errs = append(errs, nonNegative(*spec.RevisionHistoryLimit, p.Child("revisionHistoryLimit"))...)
	}
	if s := spec.ProgressDeadlineSeconds; s != nil {
		errs = append(errs, nonNegative(*s, p.Child("progressDeadlineSeconds"))...)
		if *s <= spec.MinReadySeconds {
			errs = append(errs, field.Invalid(p.Child("progressDeadlineSeconds"), *s, "must be greater than minReadySeconds"))
		}
	}
	if old != nil {
		errs = append(errs, validation.ValidateImmutableField(spec.Selector, old.Spec.Selector, p.Child("selector"))...)
	}
	return errs
}

func validateStrategy(s *appsv1.DeploymentStrategy, p *field.Path) field.ErrorList {
	switch s.Type {
	case appsv1.RecreateDeploymentStrategyType:
		if s.RollingUpdate != nil {
			return field.ErrorList{field.Forbidden(p.Child("rollingUpdate"), "may not be specified when strategy `type` is 'Recreate'")}
		}
		return nil
	case appsv1.RollingUpdateDeploymentStrategyType:
		if s.RollingUpdate == nil {
			return field.ErrorList{field.Required(p.Child("rollingUpdate"), "this should be defaulted and never be nil")}
		}
		return validateRolling(s.RollingUpdate, p.Child("rollingUpdate"))
	}
	return field.ErrorList{field.NotSupported(p.Child("type"), s.Type,
		[]appsv1.DeploymentStrategyType{appsv1.RecreateDeploymentStrategyType, appsv1.RollingUpdateDeploymentStrategyType})}
}

func validateRolling(r *appsv1.RollingUpdateDeployment, p *field.Path) field.ErrorList {
	unavailable, surge := p.Child("maxUnavailable"), p.Child("maxSurge")
	errs := countOrPercent(r.MaxUnavailable, unavailable)
	errs = append(errs, countOrPercent(r.MaxSurge, surge)...)
	if amount(r.MaxUnavailable) == 0 && amount(r.MaxSurge) == 0 {
		errs = append(errs, field.Invalid(unavailable, r.MaxUnavailable, "may not be 0 when `maxSurge` is 0"))
	}
	if r.MaxUnavailable != nil && r.MaxUnavailable.Type == intstr.String && amount(r.MaxUnavailable) > 100 {
		errs = append(errs, field.Invalid(unavailable, r.MaxUnavailable, "must not be greater than 100%"))
	}
	return errs
}

func countOrPercent(v *intstr.IntOrString, p *field.Path) field.ErrorList {
	if v == nil {
		return nil
	}
	if v.Type == intstr.Int {
		return validation.ValidateNonnegativeField(int64(v.IntValue()), p)
	}
	var errs field.ErrorList
	for range utilvalidation.IsValidPercent(v.StrVal) {
		errs = append(errs, field.Invalid(p, v, "must be an integer or percentage (e.g '5%')"))
	}
	return errs
}

// amount is the number or the percentage; what is neither counts as 0 and is refused elsewhere.
func amount(v *intstr.IntOrString) int {
	if v == nil {
		return 0
	}
	if v.Type == intstr.Int {
		return v.IntValue()
	}
	n, err := strconv.Atoi(strings.TrimSuffix(v.StrVal, "%"))
	if err != nil {
		return 0
	}
	return n
}

func validateReplicaSet(rs, old *appsv1.ReplicaSet) field.ErrorList {
	p, spec := field.NewPath("spec"), &rs.Spec
	errs := nonNegative(replicasOf(spec.Replicas), p.Child("replicas"))
	errs = append(errs, nonNegative(spec.MinReadySeconds, p.Child("minReadySeconds"))...)
	selector, wrong := validateSelector(spec.Selector, "deployment", p.Child("selector"))
	errs = append(errs, wrong...)
	errs = append(errs, validateTemplate("ReplicaSet", &spec.Template, selector, replicasOf(spec.Replicas), p.Child("template"))...)
	if old != nil {
		errs = append(errs, validation.ValidateImmutableField(spec.Selector, old.Spec.Selector, p.Child("selector"))...)
	}
	return errs
}
