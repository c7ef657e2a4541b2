// Package batch declares the kinds of the group batch/v1: what the server, the printer and the store know
// of Job and CronJob.
//
// Defaults, validation and columns follow the API reference of Kubernetes 1.37, so that a manifest gets
// the same defaults, the same refusals with the same field paths, and the same printed table.
package batch

import (
	"slices"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/validation"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// none is what columns print in place of nothing.
const none = "<none>"

func setDefault[T any](p **T, value T) {
	if *p == nil {
		*p = new(value)
	}
}

// valueOf is what p points to, or the zero value.
func valueOf[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

func same[T comparable](a, b *T) bool { return (a == nil) == (b == nil) && valueOf(a) == valueOf(b) }

// optionalNonNegative takes nil too.
func optionalNonNegative[T ~int32 | ~int64](value *T, p *field.Path) field.ErrorList {
	if value == nil {
		return nil
	}
	return validation.ValidateNonnegativeField(int64(*value), p)
}

func containerNames(t *corev1.PodTemplateSpec) string {
	return joinContainers(t, func(c *corev1.Container) string { return c.Name })
}

func containerImages(t *corev1.PodTemplateSpec) string {
	return joinContainers(t, func(c *corev1.Container) string { return c.Image })
}

func joinContainers(t *corev1.PodTemplateSpec, part func(*corev1.Container) string) string {
	out := make([]string, len(t.Spec.Containers))
	for i := range t.Spec.Containers {
		out[i] = part(&t.Spec.Containers[i])
	}
	return strings.Join(out, ",")
}

func indexed(s *batchv1.JobSpec) bool { return valueOf(s.CompletionMode) == batchv1.IndexedCompletion }

func hasCondition(job *batchv1.Job, kind batchv1.JobConditionType, status corev1.ConditionStatus) bool {
	return slices.ContainsFunc(job.Status.Conditions, func(c batchv1.JobCondition) bool { return c.Type == kind && c.Status == status })
}

func is(job *batchv1.Job, kind batchv1.JobConditionType) bool {
	return hasCondition(job, kind, corev1.ConditionTrue)
}

func finished(job *batchv1.Job) bool {
	return is(job, batchv1.JobComplete) || is(job, batchv1.JobFailed)
}

// warnName tells of names that make poor hostnames.
func warnName(name string) []string {
	msgs := utilvalidation.IsDNS1123Label(name)
	if len(msgs) == 0 {
		return nil
	}
	return []string{"metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is recommended: [" + strings.Join(msgs, " ") + "]"}
}
