package core

import (
	"maps"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api"
)

// ReplicationControllers is all that the server, the printer and the docs know of ReplicationController.
var ReplicationControllers = api.Kind[corev1.ReplicationController]{
	Version: "v1", Name: "ReplicationController", Plural: "replicationcontrollers", OrphanDependents: true, Short: []string{"rc"},
	Categories: []string{"all"}, Namespaced: true, Generation: true, StoragePrefix: "controllers",
	Subresources: api.StatusAndScale, StatusMetadata: true,
	Scale: &api.Scale[corev1.ReplicationController]{
		Get: func(rc *corev1.ReplicationController) (int32, int32, string) {
			return *rc.Spec.Replicas, rc.Status.Replicas, labels.SelectorFromSet(rc.Spec.Selector).String()
		},
		Set: func(rc *corev1.ReplicationController, n int32) { rc.Spec.Replicas = &n },
	},
	Default:        defaultReplicationController,
	Validate:       validateReplicationController,
	ValidateStatus: validateReplicationControllerStatus,
	Columns: []api.Column[corev1.ReplicationController]{
		api.NameColumn[corev1.ReplicationController](),
		{Name: "Desired", Type: "integer", Description: "Number of pods wanted.", Cell: func(rc *corev1.ReplicationController) any { return int64(*rc.Spec.Replicas) }},
		{Name: "Current", Type: "integer", Description: "Number of pods.", Cell: func(rc *corev1.ReplicationController) any { return int64(rc.Status.Replicas) }},
		{Name: "Ready", Type: "integer", Description: "Number of ready pods.", Cell: func(rc *corev1.ReplicationController) any { return int64(rc.Status.ReadyReplicas) }},
		api.AgeColumn[corev1.ReplicationController](),
		{Name: "Containers", Priority: 1, Description: "Names of each container in the template.", Cell: func(rc *corev1.ReplicationController) any { return ContainerNames(rc.Spec.Template) }},
		{Name: "Images", Priority: 1, Description: "Images referenced by each container in the template.", Cell: func(rc *corev1.ReplicationController) any { return ContainerImages(rc.Spec.Template) }},
		{Name: "Selector", Priority: 1, Description: "The labels of the pods.", Cell: func(rc *corev1.ReplicationController) any { return labels.FormatLabels(rc.Spec.Selector) }},
	},
	Fields: map[string]func(*corev1.ReplicationController) string{
		"status.replicas": func(rc *corev1.ReplicationController) string { return strconv.Itoa(int(rc.Status.Replicas)) },
	},
}

// ContainerNames is the column of a workload that lists its containers.
func ContainerNames(t *corev1.PodTemplateSpec) string {
	return joinContainers(t, func(c *corev1.Container) string { return c.Name })
}

// ContainerImages is the column of a workload that lists its images.
func ContainerImages(t *corev1.PodTemplateSpec) string {
	return joinContainers(t, func(c *corev1.Container) string { return c.Image })
}

func joinContainers(t *corev1.PodTemplateSpec, part func(*corev1.Container) string) string {
	if t == nil {
		return ""
	}
	out := make([]string, len(t.Spec.Containers))
	for i := range t.Spec.Containers {
		out[i] = part(&t.Spec.Containers[i])
	}
	return strings.Join(out, ",")
}

func defaultReplicationController(rc *corev1.ReplicationController) {
	setDefaultPointer(&rc.Spec.Replicas, 1)
	if rc.Spec.Template == nil {
		return
	}
	if l := rc.Spec.Template.Labels; len(l) > 0 {
		if len(rc.Spec.Selector) == 0 {
			rc.Spec.Selector = maps.Clone(l)
		}
		if len(rc.Labels) == 0 {
			rc.Labels = maps.Clone(l)
		}
	}
	DefaultPodTemplate(rc.Spec.Template)
}

func validateReplicationController(rc, _ *corev1.ReplicationController) field.ErrorList {
	p, spec := field.NewPath("spec"), &rc.Spec
	errs := nonNegative(spec.MinReadySeconds, p.Child("minReadySeconds"))
	if len(spec.Selector) == 0 {
		errs = append(errs, field.Required(p.Child("selector"), ""))
	}
	errs = append(errs, nonNegative(*spec.Replicas, p.Child("replicas"))...)
	at, t := p.Child("template"), spec.Template
	if t == nil {
		return append(errs, field.Required(at, ""))
	}
	if len(spec.Selector) > 0 && !labels.SelectorFromSet(spec.Selector).Matches(labels.Set(t.Labels)) {
		errs = append(errs, field.Invalid(at.Child("metadata", "labels"), t.Labels, "`selector` does not match template `labels`"))
	}
	errs = append(errs, ValidatePodTemplate(t, at)...)
	if t.Spec.RestartPolicy != corev1.RestartPolicyAlways {
		errs = append(errs, field.NotSupported(at.Child("spec", "restartPolicy"), t.Spec.RestartPolicy, []corev1.RestartPolicy{corev1.RestartPolicyAlways}))
	}
	if t.Spec.ActiveDeadlineSeconds != nil {
		errs = append(errs, field.Forbidden(at.Child("spec", "activeDeadlineSeconds"), "activeDeadlineSeconds in ReplicationController is not Supported"))
	}
	return errs
}

func validateReplicationControllerStatus(rc, _ *corev1.ReplicationController) field.ErrorList {
	p, s := field.NewPath("status"), &rc.Status
	errs := nonNegative(s.Replicas, p.Child("replicas"))
	for _, c := range []struct {
		name  string
		value int32
	}{
		{"fullyLabeledReplicas", s.FullyLabeledReplicas}, {"readyReplicas", s.ReadyReplicas}, {"availableReplicas", s.AvailableReplicas},
	} {
		errs = append(errs, nonNegative(c.value, p.Child(c.name))...)
		if c.value > s.Replicas {
			errs = append(errs, field.Invalid(p.Child(c.name), c.value, "cannot be greater than status.replicas"))
		}
	}
	if s.AvailableReplicas > s.ReadyReplicas {
		errs = append(errs, field.Invalid(p.Child("availableReplicas"), s.AvailableReplicas, "cannot be greater than readyReplicas"))
	}
	return append(errs, nonNegative(s.ObservedGeneration, p.Child("observedGeneration"))...)
}
