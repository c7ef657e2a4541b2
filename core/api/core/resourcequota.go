package core

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/sets"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api"
)

// ResourceQuotas is all that the server, the printer and the docs know of ResourceQuota.
var ResourceQuotas = api.Kind[corev1.ResourceQuota]{
	Version: "v1", Name: "ResourceQuota", Plural: "resourcequotas", Short: []string{"quota"}, Namespaced: true,
	Subresources:   api.Status,
	StatusMetadata: true,
	Default: func(q *corev1.ResourceQuota) {
		roundUp(q.Spec.Hard)
		roundUp(q.Status.Hard)
		roundUp(q.Status.Used)
	},
	Validate:       validateQuota,
	ValidateStatus: validateQuotaStatus,
	Columns: []api.Column[corev1.ResourceQuota]{
		api.NameColumn[corev1.ResourceQuota](),
		{Name: "Request", Description: "What is used and may be, of what is counted or requested.", Cell: func(q *corev1.ResourceQuota) any { return quotaColumn(q, false) }},
		{Name: "Limit", Description: "What is used and may be, of limits.", Cell: func(q *corev1.ResourceQuota) any { return quotaColumn(q, true) }},
		api.AgeColumn[corev1.ResourceQuota](),
	},
}

func quotaColumn(q *corev1.ResourceQuota, limits bool) string {
	var out []string
	for _, name := range sortedNames(q.Status.Hard) {
		if strings.HasPrefix(string(name), "limits.") == limits {
			used, hard := q.Status.Used[name], q.Status.Hard[name]
			out = append(out, fmt.Sprintf("%s: %s/%s", name, used.String(), hard.String()))
		}
	}
	return strings.Join(out, ", ")
}

var (
	countedResources = sets.New(corev1.ResourcePods, corev1.ResourceQuotas, corev1.ResourceServices, corev1.ResourceReplicationControllers, corev1.ResourceSecrets,
		corev1.ResourceConfigMaps, corev1.ResourcePersistentVolumeClaims, corev1.ResourceServicesNodePorts, corev1.ResourceServicesLoadBalancers)
	quotaResources = countedResources.Union(sets.New(corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage,
		corev1.ResourceRequestsCPU, corev1.ResourceRequestsMemory, corev1.ResourceRequestsStorage, corev1.ResourceRequestsEphemeralStorage,
		corev1.ResourceLimitsCPU, corev1.ResourceLimitsMemory, corev1.ResourceLimitsEphemeralStorage))
	podQuotaResources = sets.New(corev1.ResourcePods, corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceRequestsCPU, corev1.ResourceRequestsMemory,
		corev1.ResourceLimitsCPU, corev1.ResourceLimitsMemory)
	quotaScopes = []corev1.ResourceQuotaScope{
		corev1.ResourceQuotaScopeTerminating, corev1.ResourceQuotaScopeNotTerminating, corev1.ResourceQuotaScopeBestEffort, corev1.ResourceQuotaScopeNotBestEffort,
		corev1.ResourceQuotaScopePriorityClass, corev1.ResourceQuotaScopeCrossNamespacePodAffinity, corev1.ResourceQuotaScopeVolumeAttributesClass,
	}
)

func isQuotaResource(name corev1.ResourceName) bool {
	return quotaResources.Has(name) || isHugePages(name) || strings.HasPrefix(string(name), corev1.ResourceRequestsHugePagesPrefix)
}

func validateQuota(q, old *corev1.ResourceQuota) field.ErrorList {
	p := field.NewPath("spec")
	errs := validateQuotaList(q.Spec.Hard, p.Child("hard"))
	errs = append(errs, validateScopes(&q.Spec, p.Child("scopes"))...)
	errs = append(errs, validateScopeSelector(&q.Spec, p.Child("scopeSelector"))...)
	if old != nil && !sets.New(q.Spec.Scopes...).Equal(sets.New(old.Spec.Scopes...)) {
		errs = append(errs, field.Invalid(p.Child("scopes"), q.Spec.Scopes, "field is immutable"))
	}
	if old != nil && !equality.Semantic.DeepEqual(q.Spec.ScopeSelector, old.Spec.ScopeSelector) {
		errs = append(errs, field.Invalid(p.Child("scopeSelector"), q.Spec.ScopeSelector, "field is immutable"))
	}
	return errs
}

func validateQuotaStatus(q, _ *corev1.ResourceQuota) field.ErrorList {
	p := field.NewPath("status")
	return append(validateQuotaList(q.Status.Hard, p.Child("hard")), validateQuotaList(q.Status.Used, p.Child("used"))...)
}

func validateQuotaList(list corev1.ResourceList, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, name := range sortedNames(list) {
		at, q := p.Key(string(name)), list[name]
		bad := api.Invalid(at, string(name), utilvalidation.IsQualifiedName(string(name)))
		if len(bad) == 0 && !strings.Contains(string(name), "/") && !isQuotaResource(name) {
			bad = field.ErrorList{field.Invalid(at, string(name), "must be a standard resource for quota")}
		}
		errs = append(errs, bad...)
		if q.Sign() < 0 {
			errs = append(errs, field.Invalid(at, q.String(), validation.IsNegativeErrorMsg))
		}
		if (countedResources.Has(name) || isExtended(name)) && q.MilliValue()%1000 != 0 {
			errs = append(errs, field.Invalid(at, q.String(), notInteger))
		}
	}
	return errs
}

// scoped tells whether a scope can be had for what is limited.
func scoped(scope corev1.ResourceQuotaScope, name corev1.ResourceName) bool {
	switch {
	case !isQuotaResource(name):
		return true
	case scope == corev1.ResourceQuotaScopeBestEffort:
		return name == corev1.ResourcePods
	case scope == corev1.ResourceQuotaScopeVolumeAttributesClass:
		return name == corev1.ResourcePersistentVolumeClaims || name == corev1.ResourceRequestsStorage
	}
	return podQuotaResources.Has(name)
}

func conflicting(scopes sets.Set[corev1.ResourceQuotaScope]) bool {
	return scopes.HasAll(corev1.ResourceQuotaScopeBestEffort, corev1.ResourceQuotaScopeNotBestEffort) ||
		scopes.HasAll(corev1.ResourceQuotaScopeTerminating, corev1.ResourceQuotaScopeNotTerminating)
}

func validateScopes(s *corev1.ResourceQuotaSpec, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, scope := range s.Scopes {
		if !slices.Contains(quotaScopes, scope) {
			errs = append(errs, field.Invalid(p, s.Scopes, "unsupported scope"))
		}
		for _, name := range sortedNames(s.Hard) {
			if slices.Contains(quotaScopes, scope) && !scoped(scope, name) {
				errs = append(errs, field.Invalid(p, s.Scopes, "unsupported scope applied to resource"))
			}
		}
	}
	if conflicting(sets.New(s.Scopes...)) {
		errs = append(errs, field.Invalid(p, s.Scopes, "conflicting scopes"))
	}
	return errs
}

func validateScopeSelector(s *corev1.ResourceQuotaSpec, p *field.Path) field.ErrorList {
	if s.ScopeSelector == nil {
		return nil
	}
	var errs field.ErrorList
	seen, at := sets.New[corev1.ResourceQuotaScope](), p.Child("matchExpressions")
	for _, r := range s.ScopeSelector.MatchExpressions {
		seen.Insert(r.ScopeName)
		if !slices.Contains(quotaScopes, r.ScopeName) {
			errs = append(errs, field.Invalid(at.Child("scopeName"), r.ScopeName, "unsupported scope"))
		}
		for _, name := range sortedNames(s.Hard) {
			if slices.Contains(quotaScopes, r.ScopeName) && !scoped(r.ScopeName, name) {
				errs = append(errs, field.Invalid(at, s.ScopeSelector, "unsupported scope applied to resource"))
			}
		}
		errs = append(errs, validateScopeOperator(&r, at)...)
	}
	if conflicting(seen) {
		errs = append(errs, field.Invalid(at, s.ScopeSelector, "conflicting scopes"))
	}
	return errs
}

func validateScopeOperator(r *corev1.ScopedResourceSelectorRequirement, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	valued := r.ScopeName == corev1.ResourceQuotaScopePriorityClass || r.ScopeName == corev1.ResourceQuotaScopeVolumeAttributesClass
	if slices.Contains(quotaScopes, r.ScopeName) && !valued && r.Operator != corev1.ScopeSelectorOpExists {
		errs = append(errs, field.Invalid(p.Child("operator"), r.Operator, "must be 'Exist' when scope is any of ResourceQuotaScopeTerminating, "+
			"ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity"))
	}
	switch r.Operator {
	case corev1.ScopeSelectorOpIn, corev1.ScopeSelectorOpNotIn:
		if len(r.Values) == 0 {
			errs = append(errs, field.Required(p.Child("values"), "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"))
		}
	case corev1.ScopeSelectorOpExists, corev1.ScopeSelectorOpDoesNotExist:
		if len(r.Values) != 0 {
			errs = append(errs, field.Invalid(p.Child("values"), r.Values, "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector"))
		}
	default:
		errs = append(errs, field.Invalid(p.Child("operator"), r.Operator, "not a valid selector operator"))
	}
	return errs
}
