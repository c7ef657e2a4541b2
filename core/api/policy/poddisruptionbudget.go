// Package policy declares the kind of the group policy/v1: what the server, the printer and the store
// know of PodDisruptionBudget.
package policy

import (
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/validation"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/intstr"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api"
)

// PodDisruptionBudgets is all that the server, the printer and the docs know of PodDisruptionBudget.
var PodDisruptionBudgets = api.Kind[policyv1.PodDisruptionBudget]{
	Group: "policy", Version: "v1", Name: "PodDisruptionBudget", Plural: "poddisruptionbudgets", Short: []string{"pdb"},
	Namespaced: true, Generation: true,
	Subresources:   api.Status,
	StatusMetadata: true,
	Validate:       validateBudget,
	ValidateStatus: validateBudgetStatus,
	Columns: []api.Column[policyv1.PodDisruptionBudget]{
		api.NameColumn[policyv1.PodDisruptionBudget](),
		{Name: "Min Available", Description: "The minimum number of pods that must be available.", Cell: func(b *policyv1.PodDisruptionBudget) any { return orNA(b.Spec.MinAvailable) }},
		{Name: "Max Unavailable", Description: "The maximum number of pods that may be unavailable.", Cell: func(b *policyv1.PodDisruptionBudget) any { return orNA(b.Spec.MaxUnavailable) }},
		{Name: "Allowed Disruptions", Type: "integer", Description: "Calculated number of pods that may be disrupted at this time.", Cell: func(b *policyv1.PodDisruptionBudget) any { return int64(b.Status.DisruptionsAllowed) }},
		api.AgeColumn[policyv1.PodDisruptionBudget](),
	},
}

func orNA(v *intstr.IntOrString) string {
	if v == nil {
		return "N/A"
	}
	return v.String()
}

func validateBudget(b, _ *policyv1.PodDisruptionBudget) field.ErrorList {
	p, spec := field.NewPath("spec"), &b.Spec
	var errs field.ErrorList
	if spec.MinAvailable != nil && spec.MaxUnavailable != nil {
		errs = append(errs, field.Invalid(p, *spec, "minAvailable and maxUnavailable cannot be both set"))
	}
	errs = append(errs, countOrPercent(spec.MinAvailable, p.Child("minAvailable"))...)
	errs = append(errs, countOrPercent(spec.MaxUnavailable, p.Child("maxUnavailable"))...)
	errs = append(errs, metavalidation.ValidateLabelSelector(spec.Selector, metavalidation.LabelSelectorValidationOptions{}, p.Child("selector"))...)
	if u := spec.UnhealthyPodEvictionPolicy; u != nil && *u != policyv1.IfHealthyBudget && *u != policyv1.AlwaysAllow {
		errs = append(errs, field.NotSupported(p.Child("unhealthyPodEvictionPolicy"), *u,
			[]policyv1.UnhealthyPodEvictionPolicyType{policyv1.AlwaysAllow, policyv1.IfHealthyBudget}))
	}
	return errs
}

func countOrPercent(v *intstr.IntOrString, p *field.Path) field.ErrorList {
	switch {
	case v == nil:
		return nil
	case v.Type == intstr.Int:
		return validation.ValidateNonnegativeField(int64(v.IntValue()), p)
	}
	var errs field.ErrorList
	for range utilvalidation.IsValidPercent(v.StrVal) {
		errs = append(errs, field.Invalid(p, *v, "must be an integer or percentage (e.g '5%')"))
	}
	if n, err := intstr.GetScaledValueFromIntOrPercent(v, 100, false); err == nil && n > 100 {
		errs = append(errs, field.Invalid(p, *v, "must not be greater than 100%"))
	}
	return errs
}

func validateBudgetStatus(b, _ *policyv1.PodDisruptionBudget) field.ErrorList {
	p, s := field.NewPath("status"), &b.Status
	errs := metavalidation.ValidateConditions(s.Conditions, p.Child("conditions"))
	for _, c := range []struct {
		name  string
		value int32
	}{
		{"disruptionsAllowed", s.DisruptionsAllowed},
		{"currentHealthy", s.CurrentHealthy},
		{"desiredHealthy", s.DesiredHealthy},
		{"expectedPods", s.ExpectedPods},
	} {
		errs = append(errs, validation.ValidateNonnegativeField(int64(c.value), p.Child(c.name))...)
	}
	return errs
}
