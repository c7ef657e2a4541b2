package core

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/validation"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/sets"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api"
)

func validateNode(n, old *corev1.Node) field.ErrorList {
	p := field.NewPath("spec")
	errs := validateTaints(n.Spec.Taints, p.Child("taints"))
	errs = append(errs, validatePodCIDRs(n.Spec.PodCIDRs, p.Child("podCIDRs"))...)
	if old == nil {
		return append(errs, validateNodeStatus(n, nil)...)
	}
	if len(old.Spec.PodCIDRs) > 0 && !slices.Equal(n.Spec.PodCIDRs, old.Spec.PodCIDRs) {
		errs = append(errs, field.Forbidden(p.Child("podCIDRs"), "node updates may not change podCIDR except from \"\" to valid"))
	}
	if old.Spec.ProviderID != "" && n.Spec.ProviderID != old.Spec.ProviderID {
		errs = append(errs, field.Forbidden(p.Child("providerID"), "node updates may not change providerID except from \"\" to valid"))
	}
	return errs
}

func validateTaints(list []corev1.Taint, p *field.Path) field.ErrorList {
	type id struct {
		effect corev1.TaintEffect
		key    string
	}
	var errs field.ErrorList
	seen := sets.New[id]()
	for i, t := range list {
		at := p.Index(i)
		errs = append(errs, metavalidation.ValidateLabelName(t.Key, at.Child("key"))...)
		errs = append(errs, api.Invalid(at.Child("value"), t.Value, utilvalidation.IsValidLabelValue(t.Value))...)
		errs = append(errs, oneOf(t.Effect, at.Child("effect"), taintEffects...)...)
		if seen.Has(id{t.Effect, t.Key}) {
			duplicate := field.Duplicate(at, t)
			duplicate.Detail = "taints must be unique by key and effect pair"
			errs = append(errs, duplicate)
		}
		seen.Insert(id{t.Effect, t.Key})
	}
	return errs
}

func validatePodCIDRs(list []string, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	families := map[bool]int{}
	for i, cidr := range list {
		errs = append(errs, utilvalidation.IsValidCIDRForLegacyField(p.Index(i), cidr, true, nil)...)
		families[isIPv6(cidr)]++
	}
	if families[true] > 1 || families[false] > 1 {
		errs = append(errs, field.Invalid(p, list, "may specify no more than one CIDR for each IP family"))
	}
	return errs
}

func validateNodeStatus(n, _ *corev1.Node) field.ErrorList {
	var errs field.ErrorList
	p := field.NewPath("status")
	for _, part := range []struct {
		name string
		list corev1.ResourceList
	}{{"capacity", n.Status.Capacity}, {"allocatable", n.Status.Allocatable}} {
		for _, name := range sortedNames(part.list) {
			at, q := p.Child(part.name).Key(string(name)), part.list[name]
			errs = append(errs, qualifiedName(string(name), at)...)
			if q.Sign() < 0 {
				errs = append(errs, field.Invalid(at, q.String(), validation.IsNegativeErrorMsg))
			}
		}
	}
	seen := sets.New[corev1.NodeAddress]()
	for i, a := range n.Status.Addresses {
		if seen.Has(a) {
			errs = append(errs, field.Duplicate(p.Child("addresses").Index(i), a))
		}
		seen.Insert(a)
	}
	return errs
}
