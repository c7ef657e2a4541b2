// Package storagemigration declares StorageVersionMigration.
package storagemigration

import (
	"strings"

	migrationv1 "k8s.io/api/storagemigration/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api"
)

type migration = migrationv1.StorageVersionMigration

// Migrations is all that the server, the printer and the docs know of StorageVersionMigration.
var Migrations = api.Kind[migration]{
	Group: "storagemigration.k8s.io", Version: "v1", Name: "StorageVersionMigration", Plural: "storageversionmigrations",
	Earlier: []string{"storagemigration.k8s.io/v1beta1"}, Subresources: api.Status, UnconditionalUpdateForbidden: true,
	Validate:       validateMigration,
	ValidateStatus: validateStatus,
	Columns: []api.Column[migration]{
		api.NameColumn[migration](),
		{Name: "Resource", Description: "Whose objects are written anew.", Cell: func(m *migration) any { return m.Spec.Resource.String() }},
		{Name: "Status", Description: "How far it is.", Cell: func(m *migration) any { return state(m) }},
	},
}

// state is the last of the conditions that hold.
func state(m *migration) string {
	out := "Unknown"
	for _, c := range m.Status.Conditions {
		switch migrationv1.MigrationConditionType(c.Type) {
		case migrationv1.MigrationRunning, migrationv1.MigrationSucceeded, migrationv1.MigrationFailed:
			if c.Status == metav1.ConditionTrue {
				out = c.Type
			}
		}
	}
	return out
}

func validateMigration(m, old *migration) field.ErrorList {
	p := field.NewPath("spec")
	var errs field.ErrorList
	if name, at := m.Spec.Resource.Resource, p.Child("resource", "resource"); name == "" {
		errs = append(errs, field.Required(at, "resource is required to be set"))
	} else if wrong := utilvalidation.IsDNS1035Label(name); len(wrong) > 0 {
		errs = append(errs, field.Invalid(at, name, strings.Join(wrong, ",")))
	}
	if group := m.Spec.Resource.Group; group != "" {
		if wrong := utilvalidation.IsDNS1123Subdomain(group); len(wrong) > 0 {
			errs = append(errs, field.Invalid(p.Child("resource", "group"), group, strings.Join(wrong, ",")))
		}
	}
	if old != nil && !equality.Semantic.DeepEqual(m.Spec, old.Spec) {
		errs = append(errs, field.Invalid(p, m.Spec, validation.FieldImmutableErrorMsg))
	}
	return errs
}

func validateStatus(m, old *migration) field.ErrorList {
	p := field.NewPath("status")
	conditions, version := p.Child("conditions"), p.Child("resourceVersion")
	var errs field.ErrorList
	if v := m.Status.ResourceVersion; v != "" {
		if _, err := resourceversion.CompareResourceVersion(v, v); err != nil {
			errs = append(errs, field.Invalid(version, v, err.Error()))
		}
	}
	errs = append(errs, metavalidation.ValidateConditions(m.Status.Conditions, conditions)...)
	if was := old.Status.ResourceVersion; was != "" && was != m.Status.ResourceVersion {
		errs = append(errs, field.Invalid(version, m.Status.ResourceVersion, validation.FieldImmutableErrorMsg))
	}
	holds := func(m *migration, kind migrationv1.MigrationConditionType) bool {
		return meta.IsStatusConditionTrue(m.Status.Conditions, string(kind))
	}
	done, failed := holds(m, migrationv1.MigrationSucceeded), holds(m, migrationv1.MigrationFailed)
	if done && failed {
		errs = append(errs, field.Invalid(conditions, m.Status.Conditions, "Both success and failed conditions cannot be true at the same time"))
	}
	if holds(old, migrationv1.MigrationSucceeded) && !done {
		errs = append(errs, field.Invalid(conditions, m.Status.Conditions, "Success condition cannot be set to false once it is true"))
	}
	if holds(old, migrationv1.MigrationFailed) && !failed {
		errs = append(errs, field.Invalid(conditions, m.Status.Conditions, "Failed condition cannot be set to false once it is true"))
	}
	return errs
}
