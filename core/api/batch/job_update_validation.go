package batch

import (
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// validateJobUpdate keeps what running pods rely on.
func validateJobUpdate(j, old *batchv1.Job) field.ErrorList {
	p, now, was := field.NewPath("spec"), &j.Spec, &old.Spec
	errs := validateCompletionsUpdate(now, was, p.Child("completions"))
	errs = append(errs, validateTemplateUpdate(j, old, p.Child("template"))...)
	for _, f := range []struct {
		name     string
		now, was any
	}{
		{"selector", now.Selector, was.Selector},
		{"completionMode", now.CompletionMode, was.CompletionMode},
		{"podFailurePolicy", now.PodFailurePolicy, was.PodFailurePolicy},
		{"backoffLimitPerIndex", now.BackoffLimitPerIndex, was.BackoffLimitPerIndex},
		{"managedBy", now.ManagedBy, was.ManagedBy},
		{"successPolicy", now.SuccessPolicy, was.SuccessPolicy},
	} {
		errs = append(errs, validation.ValidateImmutableField(f.now, f.was, p.Child(f.name))...)
	}
	return errs
}

// validateCompletionsUpdate lets indexed jobs grow and shrink together with their parallelism (KEP-3715).
func validateCompletionsUpdate(now, was *batchv1.JobSpec, p *field.Path) field.ErrorList {
	switch {
	case !indexed(now):
		return validation.ValidateImmutableField(now.Completions, was.Completions, p)
	case now.Completions == nil || same(now.Completions, was.Completions):
		return nil
	case *now.Completions != valueOf(now.Parallelism):
		return field.ErrorList{field.Invalid(p, now.Completions, "can only be modified in tandem with spec.parallelism")}
	}
	return nil
}

// validateTemplateUpdate lets a suspended job without pods be placed otherwise (KEP-2926) and given other
// resources (KEP-5440).
func validateTemplateUpdate(j, old *batchv1.Job, p *field.Path) field.ErrorList {
	now := &j.Spec.Template
	idle := valueOf(old.Spec.Suspend) && (old.Status.StartTime == nil || is(old, batchv1.JobSuspended)) && old.Status.Active == 0
	if !idle {
		return validation.ValidateImmutableField(now, &old.Spec.Template, p)
	}
	was := old.Spec.Template.DeepCopy()
	was.Labels, was.Annotations = now.Labels, now.Annotations
	was.Spec.NodeSelector, was.Spec.Tolerations, was.Spec.SchedulingGates = now.Spec.NodeSelector, now.Spec.Tolerations, now.Spec.SchedulingGates
	allowNodeAffinity(&was.Spec, now.Spec.Affinity)
	allowResources(was.Spec.Containers, now.Spec.Containers)
	allowResources(was.Spec.InitContainers, now.Spec.InitContainers)
	if !equality.Semantic.DeepEqual(now.ObjectMeta, was.ObjectMeta) {
		return validation.ValidateImmutableField(now, was, p)
	}
	return validation.ValidateImmutableField(now.Spec, was.Spec, p.Child("spec"))
}

func allowNodeAffinity(was *corev1.PodSpec, now *corev1.Affinity) {
	switch {
	case now != nil && was.Affinity != nil:
		was.Affinity.NodeAffinity = now.NodeAffinity
	case now != nil:
		was.Affinity = &corev1.Affinity{NodeAffinity: now.NodeAffinity}
	case was.Affinity != nil:
		was.Affinity.NodeAffinity = nil
		if *was.Affinity == (corev1.Affinity{}) {
			was.Affinity = nil
		}
	}
}

func allowResources(was, now []corev1.Container) {
	if len(was) != len(now) {
		return
	}
	for i := range was {
		if was[i].Name == now[i].Name {
			was[i].Resources = now[i].Resources
		}
	}
}
