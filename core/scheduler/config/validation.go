package config

import (
	"fmt"
	"net/url"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
	configv1 "k8s.io/kube-scheduler/config/v1"
)

// validate checks the arguments; at is where each plugin's are.
func (a *arguments) validate(at map[string]*field.Path) field.ErrorList {
	errs := a.validateFit(at["NodeResourcesFit"])
	errs = append(errs, a.validateBalanced(at["NodeResourcesBalancedAllocation"])...)
	if w := *a.interPod.HardPodAffinityWeight; w < 0 || w > 100 {
		errs = append(errs, field.Invalid(at["InterPodAffinity"].Child("hardPodAffinityWeight"), w, "not in valid range [0, 100]"))
	}
	errs = append(errs, a.validateSpread(at["PodTopologySpread"])...)
	errs = append(errs, a.validatePreemption(at["DefaultPreemption"])...)
	errs = append(errs, a.validateAffinity(at["NodeAffinity"])...)
	if s := a.volumes.BindTimeoutSeconds; s != nil && *s < 0 {
		errs = append(errs, field.Invalid(at["VolumeBinding"].Child("bindTimeoutSeconds"), *s, "invalid BindTimeoutSeconds, should not be a negative value"))
	}
	return errs
}

func (a *arguments) validatePreemption(at *field.Path) field.ErrorList {
	var errs field.ErrorList
	percent, absolute := *a.preemption.MinCandidateNodesPercentage, *a.preemption.MinCandidateNodesAbsolute
	if percent < 0 || percent > 100 {
		errs = append(errs, field.Invalid(at.Child("minCandidateNodesPercentage"), percent, "not in valid range [0, 100]"))
	}
	if absolute < 0 {
		errs = append(errs, field.Invalid(at.Child("minCandidateNodesAbsolute"), absolute, "not in valid range [0, inf)"))
	}
	if percent == 0 && absolute == 0 {
		errs = append(errs,
			field.Invalid(at.Child("minCandidateNodesPercentage"), percent, "cannot be zero at the same time as minCandidateNodesAbsolute"),
			field.Invalid(at.Child("minCandidateNodesAbsolute"), absolute, "cannot be zero at the same time as minCandidateNodesPercentage"))
	}
	return errs
}

func (a *arguments) validateAffinity(at *field.Path) field.ErrorList {
	added := a.affinity.AddedAffinity
	if added == nil {
		return nil
	}
	var errs field.ErrorList
	fail := func(at *field.Path, err error) {
		if err != nil {
			errs = append(errs, field.Invalid(at, "", err.Error()))
		}
	}
	var err error
	if ns := added.RequiredDuringSchedulingIgnoredDuringExecution; ns != nil {
		a.addedRequired, err = nodeaffinity.NewNodeSelector(ns)
		fail(at.Child("addedAffinity", "requiredDuringSchedulingIgnoredDuringExecution"), err)
	}
	if terms := added.PreferredDuringSchedulingIgnoredDuringExecution; len(terms) > 0 {
		a.addedPreferred, err = nodeaffinity.NewPreferredSchedulingTerms(terms)
		fail(at.Child("addedAffinity", "preferredDuringSchedulingIgnoredDuringExecution"), err)
	}
	return errs
}

func (a *arguments) validateFit(at *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, r := range a.fit.IgnoredResources {
		errs = append(errs, metav1validation.ValidateLabelName(r, at.Child("ignoredResources").Index(i))...)
	}
	for i, g := range a.fit.IgnoredResourceGroups {
		here := at.Child("ignoredResourceGroups").Index(i)
		if strings.Contains(g, "/") {
			errs = append(errs, field.Invalid(here, g, "resource group name can't contain '/'"))
		}
		errs = append(errs, metav1validation.ValidateLabelName(g, here)...)
	}
	s, here := a.fit.ScoringStrategy, at.Child("scoringStrategy")
	types := sets.New(configv1.LeastAllocated, configv1.MostAllocated, configv1.RequestedToCapacityRatio)
	if !types.Has(s.Type) {
		errs = append(errs, field.NotSupported(here.Child("type"), s.Type, sets.List(types)))
	}
	for i, r := range s.Resources {
		if r.Weight <= 0 || r.Weight > 100 {
			errs = append(errs, field.Invalid(here.Child("resources").Index(i).Child("weight"), r.Weight, fmt.Sprintf("resource weight of %v not in valid range (0, 100]", r.Name)))
		}
	}
	ratio := here.Child("requestedToCapacityRatio")
	switch {
	case s.Type == configv1.RequestedToCapacityRatio && s.RequestedToCapacityRatio == nil:
		errs = append(errs, field.Required(ratio, "must be specified when type is RequestedToCapacityRatio"))
	case s.Type == configv1.RequestedToCapacityRatio:
		errs = append(errs, validateShape(ratio.Child("shape"), s.RequestedToCapacityRatio.Shape)...)
	case s.RequestedToCapacityRatio != nil:
		errs = append(errs, field.Forbidden(ratio, "must be nil when type is not RequestedToCapacityRatio"))
	}
	return errs
}

func validateShape(at *field.Path, shape []configv1.UtilizationShapePoint) field.ErrorList {
	if len(shape) == 0 {
		return field.ErrorList{field.Required(at, "at least one point must be specified")}
	}
	var errs field.ErrorList
	for i := 1; i < len(shape); i++ {
		if shape[i-1].Utilization >= shape[i].Utilization {
			errs = append(errs, field.Invalid(at.Index(i).Child("utilization"), shape[i].Utilization, "values must be sorted in increasing order"))
			break
		}
	}
	for i, p := range shape {
		if p.Utilization < 0 || p.Utilization > 100 {
			errs = append(errs, field.Invalid(at.Index(i).Child("utilization"), p.Utilization, "not in valid range [0, 100]"))
		}
		if p.Score < 0 || p.Score > maxShapeScore {
			errs = append(errs, field.Invalid(at.Index(i).Child("score"), p.Score, fmt.Sprintf("not in valid range [0, %d]", maxShapeScore)))
		}
	}
	return errs
}

func (a *arguments) validateBalanced(at *field.Path) field.ErrorList {
	var errs field.ErrorList
	seen := map[string]bool{}
	for i, r := range a.balanced.Resources {
		here := at.Child("resources").Index(i)
		if seen[r.Name] {
			errs = append(errs, field.Duplicate(here.Child("name"), r.Name))
		}
		seen[r.Name] = true
		if r.Weight != 1 {
			errs = append(errs, field.Invalid(here.Child("weight"), r.Weight, "must be 1"))
		}
	}
	return errs
}

func (a *arguments) validateSpread(at *field.Path) field.ErrorList {
	var errs field.ErrorList
	switch t := a.spread.DefaultingType; {
	case t != configv1.SystemDefaulting && t != configv1.ListDefaulting:
		errs = append(errs, field.NotSupported(at.Child("defaultingType"), t, []configv1.PodTopologySpreadConstraintsDefaulting{configv1.SystemDefaulting, configv1.ListDefaulting}))
	case t == configv1.SystemDefaulting && len(a.spread.DefaultConstraints) > 0:
		errs = append(errs, field.Invalid(at.Child("defaultingType"), t, "when .defaultConstraints are not empty"))
	}
	list := at.Child("defaultConstraints")
	seen := map[string]bool{}
	for i := range a.spread.DefaultConstraints {
		c, here := &a.spread.DefaultConstraints[i], list.Index(i)
		if c.MaxSkew <= 0 {
			errs = append(errs, field.Invalid(here.Child("maxSkew"), c.MaxSkew, "not in valid range (0, inf)"))
		}
		if c.TopologyKey == "" {
			errs = append(errs, field.Required(here.Child("topologyKey"), "can not be empty"))
		} else {
			errs = append(errs, metav1validation.ValidateLabelName(c.TopologyKey, here.Child("topologyKey"))...)
		}
		switch c.WhenUnsatisfiable {
		case "":
			errs = append(errs, field.Required(here.Child("whenUnsatisfiable"), "can not be empty"))
		case corev1.DoNotSchedule, corev1.ScheduleAnyway:
		default:
			errs = append(errs, field.NotSupported(here.Child("whenUnsatisfiable"), c.WhenUnsatisfiable, []corev1.UnsatisfiableConstraintAction{corev1.DoNotSchedule, corev1.ScheduleAnyway}))
		}
		if c.LabelSelector != nil {
			errs = append(errs, field.Forbidden(here.Child("labelSelector"), "constraint must not define a selector, as they deduced for each pod"))
		}
		pair := fmt.Sprintf("{%v, %v}", c.TopologyKey, c.WhenUnsatisfiable)
		if seen[pair] {
			errs = append(errs, field.Duplicate(here, pair))
		}
		seen[pair] = true
	}
	return errs
}

func validateExtenders(list []configv1.Extender) field.ErrorList {
	var errs field.ErrorList
	binders, managed := 0, map[string]bool{}
	for i := range list {
		e, at := &list[i], field.NewPath("extenders").Index(i)
		if u, err := url.Parse(e.URLPrefix); err != nil || u.Host == "" {
			errs = append(errs, field.Invalid(at.Child("urlPrefix"), e.URLPrefix, "must be a URL"))
		}
		if e.PrioritizeVerb != "" && e.Weight <= 0 {
			errs = append(errs, field.Invalid(at.Child("weight"), e.Weight, "must have a positive weight applied to it"))
		}
		if e.BindVerb != "" {
			binders++
		}
		for j, r := range e.ManagedResources {
			here := at.Child("managedResources").Index(j).Child("name")
			for _, message := range validation.IsQualifiedName(r.Name) {
				errs = append(errs, field.Invalid(here, r.Name, message))
			}
			if group, _, ok := strings.Cut(r.Name, "/"); !ok || group == "kubernetes.io" || strings.HasSuffix(group, ".kubernetes.io") {
				errs = append(errs, field.Invalid(here, r.Name, "is an invalid extended resource name"))
			}
			if managed[r.Name] {
				errs = append(errs, field.Invalid(here, r.Name, "duplicate extender managed resource name"))
			}
			managed[r.Name] = true
		}
	}
	if binders > 1 {
		errs = append(errs, field.Invalid(field.NewPath("extenders"), fmt.Sprintf("found %d extenders implementing bind", binders), "only one extender can implement bind"))
	}
	return errs
}
