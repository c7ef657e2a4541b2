// Package coordination declares the kind of the group coordination.k8s.io/v1: what the server, the
// printer and the store know of Lease.
package coordination

import (
	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/api/validation"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api"
)

// Leases is all that the server, the printer and the docs know of Lease.
var Leases = api.Kind[coordinationv1.Lease]{
	Group: "coordination.k8s.io", Version: "v1", Name: "Lease", Plural: "leases", Namespaced: true,
	Earlier:                      []string{"coordination.k8s.io/v1beta1"},
	UnconditionalUpdateForbidden: true, CreateOnUpdate: true,
	Validate: validateLease,
	Columns: []api.Column[coordinationv1.Lease]{
		api.NameColumn[coordinationv1.Lease](),
		{Name: "Holder", Description: "Who holds the lease.", Cell: func(l *coordinationv1.Lease) any { return holder(l) }},
		api.AgeColumn[coordinationv1.Lease](),
	},
}

func holder(l *coordinationv1.Lease) string {
	if l.Spec.HolderIdentity == nil {
		return ""
	}
	return *l.Spec.HolderIdentity
}

func validateLease(l, _ *coordinationv1.Lease) field.ErrorList {
	var errs field.ErrorList
	spec, p := &l.Spec, field.NewPath("spec")
	if spec.LeaseDurationSeconds != nil && *spec.LeaseDurationSeconds <= 0 {
		errs = append(errs, field.Invalid(p.Child("leaseDurationSeconds"), *spec.LeaseDurationSeconds, "must be greater than 0"))
	}
	if spec.LeaseTransitions != nil && *spec.LeaseTransitions < 0 {
		errs = append(errs, field.Invalid(p.Child("leaseTransitions"), *spec.LeaseTransitions, validation.IsNegativeErrorMsg))
	}
	if spec.Strategy != nil {
		for _, msg := range utilvalidation.IsQualifiedName(string(*spec.Strategy)) {
			errs = append(errs, field.Invalid(p.Child("strategy"), *spec.Strategy, msg))
		}
	}
	if spec.PreferredHolder != nil && *spec.PreferredHolder != "" && (spec.Strategy == nil || *spec.Strategy == "") {
		errs = append(errs, field.Forbidden(p.Child("preferredHolder"), "may only be specified if `strategy` is defined"))
	}
	return errs
}
