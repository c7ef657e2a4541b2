package storage

import (
	"maps"

	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api"
)

// VolumeAttributesClasses is all that the server, the printer and the docs know of VolumeAttributesClass.
var VolumeAttributesClasses = api.Kind[storagev1.VolumeAttributesClass]{
	Group: "storage.k8s.io", Version: "v1", Name: "VolumeAttributesClass", Plural: "volumeattributesclasses", Short: []string{"vac"},
	Earlier:  []string{"storage.k8s.io/v1alpha1", "storage.k8s.io/v1beta1"},
	Validate: validateAttributesClass,
	Columns: []api.Column[storagev1.VolumeAttributesClass]{
		api.NameColumn[storagev1.VolumeAttributesClass](),
		{Name: "DriverName", Description: "The driver that the parameters are for.", Cell: func(c *storagev1.VolumeAttributesClass) any { return c.DriverName }},
		api.AgeColumn[storagev1.VolumeAttributesClass](),
	},
}

func validateAttributesClass(c, old *storagev1.VolumeAttributesClass) field.ErrorList {
	p := field.NewPath("parameters")
	errs := validateDriver(c.DriverName, field.NewPath("driverName"))
	errs = append(errs, validateParameters(c.Parameters, p)...)
	if len(c.Parameters) == 0 {
		errs = append(errs, field.Required(p, "must contain at least one key/value pair"))
	}
	if old == nil {
		return errs
	}
	if c.DriverName != old.DriverName {
		errs = append(errs, field.Forbidden(field.NewPath("driverName"), "updates to driverName are forbidden."))
	}
	if !maps.Equal(c.Parameters, old.Parameters) {
		errs = append(errs, field.Forbidden(p, "updates to parameters are forbidden."))
	}
	return errs
}
