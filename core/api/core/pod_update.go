package core

import (
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/diff"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api"
)

const mayChange = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`," +
	"`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations)," +
	"`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"

// validatePodUpdate allows the few changes of a spec that a running pod can follow.
func validatePodUpdate(p, old *corev1.Pod) field.ErrorList {
	// A spec that is as it was has been found right before, and a pod is labelled and finalized whatever became of the rules since.
	if api.Equal(&p.Spec, &old.Spec) && (len(p.Spec.ResourceClaims) == 0 || maps.Equal(p.Annotations, old.Annotations)) {
		return nil
	}
	spec := field.NewPath("spec")
	errs := validatePodWhole(p)
	if len(p.Spec.Containers) != len(old.Spec.Containers) {
		return append(errs, field.Forbidden(spec.Child("containers"), "pod updates may not add or remove containers"))
	}
	if len(p.Spec.InitContainers) != len(old.Spec.InitContainers) {
		return append(errs, field.Forbidden(spec.Child("initContainers"), "pod updates may not add or remove containers"))
	}
	errs = append(errs, validateDeadlineUpdate(p.Spec.ActiveDeadlineSeconds, old.Spec.ActiveDeadlineSeconds, spec.Child("activeDeadlineSeconds"))...)
	errs = append(errs, onlyAddedTolerations(p.Spec.Tolerations, old.Spec.Tolerations, spec.Child("tolerations"))...)
	errs = append(errs, onlyRemovedGates(p.Spec.SchedulingGates, old.Spec.SchedulingGates, spec.Child("schedulingGates"))...)
	allowed := withAllowedChanges(&p.Spec, &old.Spec)
	if len(old.Spec.SchedulingGates) > 0 {
		errs = append(errs, validateGatedPlacement(p, old, spec)...)
		allowed.NodeSelector = old.Spec.NodeSelector
		allowNodeAffinity(allowed, &old.Spec)
	}
	if !api.Equal(allowed, &old.Spec) {
		errs = append(errs, field.Forbidden(spec, fmt.Sprintf("%s\n%v", mayChange, diff.Diff(old.Spec, *allowed))))
	}
	return errs
}

// withAllowedChanges is the new spec with all that may differ taken from the old one.
func withAllowedChanges(spec, old *corev1.PodSpec) *corev1.PodSpec {
	copied := *spec
	out := &copied
	out.Containers, out.InitContainers = slices.Clone(spec.Containers), slices.Clone(spec.InitContainers)
	for i := range out.Containers {
		out.Containers[i].Image = old.Containers[i].Image
	}
	for i := range out.InitContainers {
		out.InitContainers[i].Image = old.InitContainers[i].Image
	}
	out.ActiveDeadlineSeconds, out.Tolerations, out.SchedulingGates = old.ActiveDeadlineSeconds, old.Tolerations, old.SchedulingGates
	grace, before := spec.TerminationGracePeriodSeconds, old.TerminationGracePeriodSeconds
	if before != nil && *before < 0 && grace != nil && *grace == 1 {
		out.TerminationGracePeriodSeconds = before
	}
	return out
}

func validateDeadlineUpdate(now, before *int64, p *field.Path) field.ErrorList {
	switch {
	case before == nil:
		return nil
	case now == nil:
		return field.ErrorList{field.Invalid(p, now, "must not update from a positive integer to nil value")}
	case *now > *before:
		return field.ErrorList{field.Invalid(p, *now, "must be less than or equal to previous value")}
	}
	return nil
}

func onlyAddedTolerations(now, before []corev1.Toleration, p *field.Path) field.ErrorList {
	for _, old := range before {
		found := false
		old.TolerationSeconds = nil
		for _, t := range now {
			t.TolerationSeconds = nil
			found = found || t == old
		}
		if !found {
			return field.ErrorList{field.Forbidden(p, "existing toleration can not be modified except its tolerationSeconds")}
		}
	}
	return nil
}

func onlyRemovedGates(now, before []corev1.PodSchedulingGate, p *field.Path) field.ErrorList {
	had := map[string]bool{}
	for _, gate := range before {
		had[gate.Name] = true
	}
	var errs field.ErrorList
	for i, gate := range now {
		if !had[gate.Name] {
			errs = append(errs, field.Forbidden(p.Index(i).Child("name"), fmt.Sprintf("only deletion is allowed, but found new scheduling gate '%s'", gate.Name)))
		}
	}
	return errs
}

// validateGatedPlacement lets a pod that is not yet scheduled be bound to fewer nodes, never to more
// (KEP-3838).
func validateGatedPlacement(p, old *corev1.Pod, spec *field.Path) field.ErrorList {
	var errs field.ErrorList
	for key, value := range maps.All(old.Spec.NodeSelector) {
		if now, ok := p.Spec.NodeSelector[key]; !ok || now != value {
			errs = append(errs, field.Invalid(spec.Child("nodeSelector"), p.Spec.NodeSelector, "only additions are allowed to nodeSelector (no mutations or deletions)"))
			break
		}
	}
	before := requiredNodes(&old.Spec)
	if before == nil {
		return errs
	}
	at := spec.Child("affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms")
	now := requiredNodes(&p.Spec)
	if now == nil || len(now.NodeSelectorTerms) != len(before.NodeSelectorTerms) {
		return append(errs, field.Invalid(at, now, "no additions/deletions to non-empty NodeSelectorTerms list are allowed"))
	}
	for i := range before.NodeSelectorTerms {
		if !narrower(&now.NodeSelectorTerms[i], &before.NodeSelectorTerms[i]) {
			errs = append(errs, field.Invalid(at.Index(i), now.NodeSelectorTerms[i], "only additions are allowed (no mutations or deletions)"))
		}
	}
	return errs
}

func requiredNodes(spec *corev1.PodSpec) *corev1.NodeSelector {
	if spec.Affinity == nil || spec.Affinity.NodeAffinity == nil {
		return nil
	}
	return spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution
}

// narrower tells whether a term only gained requirements; an empty term matches nothing and stays so.
func narrower(now, before *corev1.NodeSelectorTerm) bool {
	if len(before.MatchExpressions) == 0 && len(before.MatchFields) == 0 && (len(now.MatchExpressions) > 0 || len(now.MatchFields) > 0) {
		return false
	}
	return startsWith(now.MatchExpressions, before.MatchExpressions) && startsWith(now.MatchFields, before.MatchFields)
}

func startsWith(now, before []corev1.NodeSelectorRequirement) bool {
	return len(now) >= len(before) && equality.Semantic.DeepEqual(now[:len(before)], before)
}

// allowNodeAffinity takes the node affinity of the old spec, whose changes are checked elsewhere.
func allowNodeAffinity(spec, old *corev1.PodSpec) {
	var before *corev1.NodeAffinity
	if old.Affinity != nil {
		before = old.Affinity.NodeAffinity
	}
	if spec.Affinity == nil {
		if old.Affinity != nil && old.Affinity.PodAffinity == nil && old.Affinity.PodAntiAffinity == nil {
			spec.Affinity = old.Affinity
		}
		return
	}
	affinity := *spec.Affinity
	affinity.NodeAffinity = before
	spec.Affinity = &affinity
	if old.Affinity == nil && *spec.Affinity == (corev1.Affinity{}) {
		spec.Affinity = nil
	}
}
