package core

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/diff"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api"
)

// ephemeralContainers is the subresource that adds containers to a pod that runs (KEP-277).
var ephemeralContainers = api.Part[corev1.Pod]{
	Body:  true,
	Owned: [][]string{{"spec", "ephemeralContainers"}},
	Prepare: func(p, old *corev1.Pod) {
		added := p.Spec.EphemeralContainers
		p.Spec = old.Spec
		p.Spec.EphemeralContainers = added
	},
	Validate: validateEphemeralUpdate,
}

// validateEphemeralUpdate lets ephemeral containers be added, and those that are there neither change nor go. Patches do not
// keep their order.
func validateEphemeralUpdate(p, old *corev1.Pod) field.ErrorList {
	if _, mirror := old.Annotations[corev1.MirrorPodAnnotationKey]; mirror {
		return field.ErrorList{field.Forbidden(field.NewPath(""), "static pods do not support ephemeral containers")}
	}
	errs := validatePodWhole(p)
	now := map[string]*corev1.EphemeralContainer{}
	for i := range p.Spec.EphemeralContainers {
		now[p.Spec.EphemeralContainers[i].Name] = &p.Spec.EphemeralContainers[i]
	}
	at := field.NewPath("spec", "ephemeralContainers")
	for i := range old.Spec.EphemeralContainers {
		before := &old.Spec.EphemeralContainers[i]
		switch have := now[before.Name]; {
		case have == nil:
			errs = append(errs, field.Forbidden(at, fmt.Sprintf("existing ephemeral containers %q may not be removed\n", before.Name)))
		case !equality.Semantic.DeepEqual(before, have):
			errs = append(errs, field.Forbidden(at, fmt.Sprintf("existing ephemeral containers %q may not be changed\n%v", before.Name, diff.Diff(*before, *have))))
		}
	}
	return errs
}

// ephemeralContainers come into a pod that runs, and so have nothing that others rely on: no ports, probes, hooks or resources.
func (r *containerRules) ephemeralContainers(names sets.Set[string], p *field.Path) field.ErrorList {
	var errs field.ErrorList
	targets := sets.New[string]()
	for _, list := range [][]corev1.Container{r.spec.Containers, r.spec.InitContainers} {
		for i := range list {
			targets.Insert(list[i].Name)
		}
	}
	for i := range r.spec.EphemeralContainers {
		c, at := asContainer(&r.spec.EphemeralContainers[i]), p.Index(i)
		errs = append(errs, r.container(&c, names, at)...)
		errs = append(errs, trimmedImage(c.Image, at)...)
		if t := r.spec.EphemeralContainers[i].TargetContainerName; t != "" && !targets.Has(t) {
			errs = append(errs, field.NotFound(at.Child("targetContainerName"), t))
		}
		errs = append(errs, forbidInEphemeral(&c, at)...)
	}
	return errs
}

func forbidInEphemeral(c *corev1.Container, p *field.Path) field.ErrorList {
	const why = "cannot be set for an Ephemeral Container"
	var errs field.ErrorList
	for _, part := range []struct {
		name string
		set  bool
	}{
		{"ports", len(c.Ports) > 0},
		{"resources", !equality.Semantic.DeepEqual(c.Resources, corev1.ResourceRequirements{})},
		{"resizePolicy", len(c.ResizePolicy) > 0},
		{"restartPolicy", c.RestartPolicy != nil},
		{"restartPolicyRules", len(c.RestartPolicyRules) > 0},
		{"livenessProbe", c.LivenessProbe != nil},
		{"readinessProbe", c.ReadinessProbe != nil},
		{"startupProbe", c.StartupProbe != nil},
		{"lifecycle", c.Lifecycle != nil},
	} {
		if part.set {
			errs = append(errs, field.Forbidden(p.Child(part.name), why))
		}
	}
	for i := range c.VolumeMounts {
		m, at := &c.VolumeMounts[i], p.Child("volumeMounts").Index(i)
		if m.SubPath != "" {
			errs = append(errs, field.Forbidden(at.Child("subPath"), why))
		}
		if m.SubPathExpr != "" {
			errs = append(errs, field.Forbidden(at.Child("subPathExpr"), why))
		}
	}
	return errs
}
