package apps

import (
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api/core"
)

func validateStatefulSet(s, old *appsv1.StatefulSet) field.ErrorList {
	p, spec := field.NewPath("spec"), &s.Spec
	errs := validatePodManagement(spec.PodManagementPolicy, p.Child("podManagementPolicy"))
	errs = append(errs, validateStatefulStrategy(&spec.UpdateStrategy, p.Child("updateStrategy"))...)
	if r := spec.PersistentVolumeClaimRetentionPolicy; r != nil {
		at := p.Child("persistentVolumeClaimRetentionPolicy")
		errs = append(errs, validateRetention(r.WhenDeleted, at.Child("whenDeleted"))...)
		errs = append(errs, validateRetention(r.WhenScaled, at.Child("whenScaled"))...)
	}
	errs = append(errs, nonNegative(replicasOf(spec.Replicas), p.Child("replicas"))...)
	errs = append(errs, nonNegative(spec.MinReadySeconds, p.Child("minReadySeconds"))...)
	if spec.Ordinals != nil {
		errs = append(errs, nonNegative(spec.Ordinals.Start, p.Child("ordinals", "start"))...)
	}
	if spec.RevisionHistoryLimit != nil {
		errs = append(errs, nonNegative(*spec.RevisionHistoryLimit, p.Child("revisionHistoryLimit"))...)
	}
	if spec.ServiceName != "" && (old == nil || old.Spec.ServiceName != spec.ServiceName) {
		for _, msg := range utilvalidation.IsDNS1123Label(spec.ServiceName) {
			errs = append(errs, field.Invalid(p.Child("serviceName"), spec.ServiceName, msg))
		}
	}
	selector, wrong := validateSelector(spec.Selector, "statefulset", p.Child("selector"))
	errs = append(errs, wrong...)
	errs = append(errs, validateStatefulTemplate(spec, selector, p.Child("template"))...)
	if old != nil && !onlyMutable(spec, &old.Spec) {
		errs = append(errs, field.Forbidden(p, "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "+
			"'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"))
	}
	return errs
}

// onlyMutable tells that the specs differ in nothing that is fixed when a set is created.
func onlyMutable(now, old *appsv1.StatefulSetSpec) bool {
	a := *now
	a.Replicas, a.Ordinals, a.Template, a.UpdateStrategy = old.Replicas, old.Ordinals, old.Template, old.UpdateStrategy
	a.RevisionHistoryLimit, a.MinReadySeconds = old.RevisionHistoryLimit, old.MinReadySeconds
	a.PersistentVolumeClaimRetentionPolicy = old.PersistentVolumeClaimRetentionPolicy
	return equality.Semantic.DeepEqual(&a, old)
}

// validateStatefulTemplate checks the template with the volumes that its claims become.
func validateStatefulTemplate(spec *appsv1.StatefulSetSpec, selector labels.Selector, p *field.Path) field.ErrorList {
	t := spec.Template.DeepCopy()
	for i := range spec.VolumeClaimTemplates {
		name := spec.VolumeClaimTemplates[i].Name
		t.Spec.Volumes = slices.DeleteFunc(t.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == name })
		t.Spec.Volumes = append(t.Spec.Volumes, core.ClaimVolume(name, name))
	}
	return validateTemplate("StatefulSet", t, selector, 1, p)
}

func validatePodManagement(v appsv1.PodManagementPolicyType, p *field.Path) field.ErrorList {
	switch v {
	case appsv1.OrderedReadyPodManagement, appsv1.ParallelPodManagement:
		return nil
	case "":
		return field.ErrorList{field.Required(p, "")}
	}
	return field.ErrorList{field.Invalid(p, v, fmt.Sprintf("must be '%s' or '%s'", appsv1.OrderedReadyPodManagement, appsv1.ParallelPodManagement))}
}

func validateRetention(v appsv1.PersistentVolumeClaimRetentionPolicyType, p *field.Path) field.ErrorList {
	allowed := []appsv1.PersistentVolumeClaimRetentionPolicyType{
		appsv1.DeletePersistentVolumeClaimRetentionPolicyType, appsv1.RetainPersistentVolumeClaimRetentionPolicyType,
	}
	if slices.Contains(allowed, v) {
		return nil
	}
	return field.ErrorList{field.NotSupported(p, v, allowed)}
}

func validateStatefulStrategy(u *appsv1.StatefulSetUpdateStrategy, p *field.Path) field.ErrorList {
	rolling := p.Child("rollingUpdate")
	switch u.Type {
	case "":
		return field.ErrorList{field.Required(p, "")}
	case appsv1.OnDeleteStatefulSetStrategyType:
		if u.RollingUpdate != nil {
			return field.ErrorList{field.Invalid(rolling, u.RollingUpdate, fmt.Sprintf("only allowed for updateStrategy '%s'", appsv1.RollingUpdateStatefulSetStrategyType))}
		}
		return nil
	case appsv1.RollingUpdateStatefulSetStrategyType:
		if u.RollingUpdate == nil {
			return nil
		}
		var errs field.ErrorList
		if u.RollingUpdate.Partition != nil {
			errs = validation.ValidateNonnegativeField(int64(*u.RollingUpdate.Partition), rolling.Child("partition"))
		}
		if most := u.RollingUpdate.MaxUnavailable; most != nil {
			at := rolling.Child("maxUnavailable")
			errs = append(errs, countOrPercent(most, at)...)
			if amount(most) == 0 {
				errs = append(errs, field.Invalid(at, *most, "cannot be 0"))
			}
			errs = append(errs, atMostAll(most, at)...)
		}
		return errs
	}
	return field.ErrorList{field.Invalid(p, *u, fmt.Sprintf("must be '%s' or '%s'", appsv1.RollingUpdateStatefulSetStrategyType, appsv1.OnDeleteStatefulSetStrategyType))}
}

// atMostAll refuses more than 100%.
func atMostAll(v *intstr.IntOrString, p *field.Path) field.ErrorList {
	if v == nil || v.Type != intstr.String || amount(v) <= 100 {
		return nil
	}
	return field.ErrorList{field.Invalid(p, v, "must not be greater than 100%")}
}
