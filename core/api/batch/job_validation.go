package batch

import (
	"fmt"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/labels"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api/core"
)

// The limits that keep status.completedIndexes and status.failedIndexes short enough to be stored.
const (
	maxIndexedParallelism = 100_000
	maxFailedIndexes      = 100_000
	manyCompletions       = 100_000
	maxOfManyCompletions  = 10_000
	maxManagedByLength    = 63
)

func validateJob(j, old *batchv1.Job) field.ErrorList {
	p := field.NewPath("spec")
	errs := validateGeneratedSelector(j, old)
	errs = append(errs, validateJobSpec(&j.Spec, p)...)
	errs = append(errs, validateJobSelector(&j.Spec, p)...)
	if n := j.Spec.Completions; indexed(&j.Spec) && n != nil && *n > 0 {
		if host := fmt.Sprintf("%s-%d", j.Name, *n-1); len(utilvalidation.IsDNS1123Label(host)) > 0 {
			errs = append(errs, field.Invalid(field.NewPath("metadata", "name"), j.Name, "will not able to create pod with invalid DNS label: "+host))
		}
	}
	if old != nil {
		errs = append(errs, validateJobUpdate(j, old)...)
	}
	return errs
}

// validateGeneratedSelector refuses labels and selectors of the user's that contradict the generated ones.
func validateGeneratedSelector(j, old *batchv1.Job) field.ErrorList {
	if valueOf(j.Spec.ManualSelector) || j.Spec.Selector == nil {
		return nil
	}
	var errs field.ErrorList
	if j.UID == "" {
		errs = append(errs, field.Required(field.NewPath("metadata", "uid"), ""))
	}
	want := map[string]string{uidLabel: string(j.UID), nameLabel: j.Name}
	if old == nil || hasLabels(&old.Spec.Template, prefixedNameLabel, prefixedUIDLabel) {
		want[prefixedUIDLabel], want[prefixedNameLabel] = string(j.UID), j.Name
	}
	p := field.NewPath("spec", "template", "metadata", "labels")
	for _, label := range []string{uidLabel, nameLabel, prefixedUIDLabel, prefixedNameLabel} {
		value, ok := want[label]
		if !ok {
			continue
		}
		switch got, ok := j.Spec.Template.Labels[label]; {
		case !ok:
			errs = append(errs, field.Required(p.Key(label), fmt.Sprintf("must be '%s'", value)))
		case got != value:
			errs = append(errs, field.Invalid(p.Key(label), j.Spec.Template.Labels, fmt.Sprintf("must be '%s'", value)))
		}
	}
	if selector, err := metav1.LabelSelectorAsSelector(j.Spec.Selector); err == nil && !selector.Matches(labels.Set(want)) {
		errs = append(errs, field.Invalid(field.NewPath("spec", "selector"), j.Spec.Selector, "`selector` not auto-generated"))
	}
	return errs
}

func hasLabels(t *corev1.PodTemplateSpec, keys ...string) bool {
	for _, key := range keys {
		if _, ok := t.Labels[key]; !ok {
			return false
		}
	}
	return true
}

func validateJobSelector(s *batchv1.JobSpec, p *field.Path) field.ErrorList {
	if s.Selector == nil {
		return field.ErrorList{field.Required(p.Child("selector"), "")}
	}
	errs := metavalidation.ValidateLabelSelector(s.Selector, metavalidation.LabelSelectorValidationOptions{}, p.Child("selector"))
	if selector, err := metav1.LabelSelectorAsSelector(s.Selector); err == nil && !selector.Matches(labels.Set(s.Template.Labels)) {
		errs = append(errs, field.Invalid(p.Child("template", "metadata", "labels"), s.Template.Labels, "`selector` does not match template `labels`"))
	}
	return errs
}

// validateJobSpec checks what jobs and the templates of CronJobs have in common.
func validateJobSpec(s *batchv1.JobSpec, p *field.Path) field.ErrorList {
	errs := validateNumbers(s, p)
	errs = append(errs, validateManagedBy(s.ManagedBy, p.Child("managedBy"))...)
	errs = append(errs, validateCompletionMode(s, p)...)
	if s.PodFailurePolicy != nil {
		errs = append(errs, validateFailurePolicy(s, p.Child("podFailurePolicy"))...)
	}
	if s.SuccessPolicy != nil {
		errs = append(errs, validateSuccessPolicy(s, p.Child("successPolicy"))...)
	}
	errs = append(errs, validateReplacementPolicy(s, p.Child("podReplacementPolicy"))...)
	if s.Scheduling != nil {
		errs = append(errs, field.Forbidden(p.Child("scheduling"), "scheduling of whole workloads is not served"))
	}
	errs = append(errs, core.ValidatePodTemplate(&s.Template, p.Child("template"))...)
	return append(errs, validateRestarts(s, p.Child("template", "spec", "restartPolicy"))...)
}

func validateNumbers(s *batchv1.JobSpec, p *field.Path) field.ErrorList {
	errs := optionalNonNegative(s.Parallelism, p.Child("parallelism"))
	errs = append(errs, optionalNonNegative(s.Completions, p.Child("completions"))...)
	errs = append(errs, optionalNonNegative(s.ActiveDeadlineSeconds, p.Child("activeDeadlineSeconds"))...)
	errs = append(errs, optionalNonNegative(s.BackoffLimit, p.Child("backoffLimit"))...)
	errs = append(errs, optionalNonNegative(s.TTLSecondsAfterFinished, p.Child("ttlSecondsAfterFinished"))...)
	errs = append(errs, optionalNonNegative(s.BackoffLimitPerIndex, p.Child("backoffLimitPerIndex"))...)
	errs = append(errs, optionalNonNegative(s.MaxFailedIndexes, p.Child("maxFailedIndexes"))...)
	if s.MaxFailedIndexes != nil && s.BackoffLimitPerIndex == nil {
		errs = append(errs, field.Required(p.Child("backoffLimitPerIndex"), "when maxFailedIndexes is specified"))
	}
	return errs
}

func validateManagedBy(name *string, p *field.Path) field.ErrorList {
	if name == nil {
		return nil
	}
	errs := utilvalidation.IsDomainPrefixedPath(p, *name)
	if len(*name) > maxManagedByLength {
		errs = append(errs, field.TooLong(p, "", maxManagedByLength))
	}
	return errs
}

func validateCompletionMode(s *batchv1.JobSpec, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	switch mode := s.CompletionMode; {
	case mode == nil || *mode == batchv1.NonIndexedCompletion:
		const needs = "requires indexed completion mode"
		if s.BackoffLimitPerIndex != nil {
			errs = append(errs, field.Invalid(p.Child("backoffLimitPerIndex"), *s.BackoffLimitPerIndex, needs))
		}
		if s.MaxFailedIndexes != nil {
			errs = append(errs, field.Invalid(p.Child("maxFailedIndexes"), *s.MaxFailedIndexes, needs))
		}
	case *mode == batchv1.IndexedCompletion:
		return validateIndexed(s, p)
	default:
		errs = append(errs, field.NotSupported(p.Child("completionMode"), s.CompletionMode,
			[]batchv1.CompletionMode{batchv1.NonIndexedCompletion, batchv1.IndexedCompletion}))
	}
	return errs
}

func validateIndexed(s *batchv1.JobSpec, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	most := func(name string, value *int32, limit int32, when string) {
		if value != nil && *value > limit {
			errs = append(errs, field.Invalid(p.Child(name), *value, fmt.Sprintf("must be less than or equal to %d%s", limit, when)))
		}
	}
	if s.Completions == nil {
		errs = append(errs, field.Required(p.Child("completions"), "when completion mode is Indexed"))
	}
	most("parallelism", s.Parallelism, maxIndexedParallelism, " when completion mode is Indexed")
	if s.Completions != nil && s.MaxFailedIndexes != nil && *s.MaxFailedIndexes > *s.Completions {
		errs = append(errs, field.Invalid(p.Child("maxFailedIndexes"), *s.MaxFailedIndexes, "must be less than or equal to completions"))
	}
	most("maxFailedIndexes", s.MaxFailedIndexes, maxFailedIndexes, "")
	if valueOf(s.Completions) <= manyCompletions || s.BackoffLimitPerIndex == nil {
		return errs
	}
	if s.MaxFailedIndexes == nil {
		errs = append(errs, field.Required(p.Child("maxFailedIndexes"), fmt.Sprintf("must be specified when completions is above %d", manyCompletions)))
	}
	when := fmt.Sprintf(" when completions are above %d and used with backoff limit per index", manyCompletions)
	most("parallelism", s.Parallelism, maxOfManyCompletions, when)
	most("maxFailedIndexes", s.MaxFailedIndexes, maxOfManyCompletions, when)
	return errs
}

func validateReplacementPolicy(s *batchv1.JobSpec, p *field.Path) field.ErrorList {
	switch policy := s.PodReplacementPolicy; {
	case policy == nil || *policy == batchv1.Failed:
		return nil
	case s.PodFailurePolicy != nil:
		return field.ErrorList{field.NotSupported(p, *policy, []batchv1.PodReplacementPolicy{batchv1.Failed})}
	case *policy != batchv1.TerminatingOrFailed:
		return field.ErrorList{field.NotSupported(p, *policy, []batchv1.PodReplacementPolicy{batchv1.Failed, batchv1.TerminatingOrFailed})}
	}
	return nil
}

// validateRestarts counts Always as missing, for that is the default of templates.
func validateRestarts(s *batchv1.JobSpec, p *field.Path) field.ErrorList {
	switch policy := s.Template.Spec.RestartPolicy; {
	case policy == corev1.RestartPolicyAlways || policy == "":
		return field.ErrorList{field.Required(p, fmt.Sprintf("valid values: %q, %q", corev1.RestartPolicyOnFailure, corev1.RestartPolicyNever))}
	case policy != corev1.RestartPolicyOnFailure && policy != corev1.RestartPolicyNever:
		return field.ErrorList{field.NotSupported(p, policy, []corev1.RestartPolicy{corev1.RestartPolicyOnFailure, corev1.RestartPolicyNever})}
	case s.PodFailurePolicy != nil && policy != corev1.RestartPolicyNever:
		return field.ErrorList{field.Invalid(p, policy, fmt.Sprintf("only %q is supported when podFailurePolicy is specified", corev1.RestartPolicyNever))}
	}
	return nil
}

const warnIndexes = "In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, " +
	"Kubernetes might not be able to track completedIndexes when a big number of indexes fail"

func warnJob(j, old *batchv1.Job) []string {
	if old == nil {
		return append(warnName(j.Name), warnJobSpec(&j.Spec, field.NewPath("spec"))...)
	}
	if j.Generation == old.Generation {
		return nil
	}
	return warnJobSpec(&j.Spec, field.NewPath("spec"))
}

func warnJobSpec(s *batchv1.JobSpec, p *field.Path) []string {
	if indexed(s) && valueOf(s.Completions) > manyCompletions && valueOf(s.Parallelism) > maxOfManyCompletions {
		return []string{p.String() + ": " + warnIndexes}
	}
	return nil
}
