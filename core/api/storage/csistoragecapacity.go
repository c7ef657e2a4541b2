package storage

import (
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/validation"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api"
)

// CSIStorageCapacities is all that the server, the printer and the docs know of CSIStorageCapacity.
var CSIStorageCapacities = api.Kind[storagev1.CSIStorageCapacity]{
	Group: "storage.k8s.io", Version: "v1", Name: "CSIStorageCapacity", Plural: "csistoragecapacities", Namespaced: true,
	Earlier:                      []string{"storage.k8s.io/v1alpha1", "storage.k8s.io/v1beta1"},
	UnconditionalUpdateForbidden: true,
	Validate:                     validateCapacity,
	Columns: []api.Column[storagev1.CSIStorageCapacity]{
		api.NameColumn[storagev1.CSIStorageCapacity](),
		{Name: "StorageClassName", Description: "The class that the figure is about.", Cell: func(c *storagev1.CSIStorageCapacity) any { return c.StorageClassName }},
		{Name: "Capacity", Description: "How much room there is.", Cell: func(c *storagev1.CSIStorageCapacity) any { return capacity(c) }},
	},
}

func capacity(c *storagev1.CSIStorageCapacity) string {
	if c.Capacity == nil {
		return "<unset>"
	}
	return c.Capacity.String()
}

func validateCapacity(c, old *storagev1.CSIStorageCapacity) field.ErrorList {
	p := field.NewPath("nodeTopology")
	errs := metavalidation.ValidateLabelSelector(c.NodeTopology, metavalidation.LabelSelectorValidationOptions{}, p)
	errs = append(errs, api.Invalid(field.NewPath("storageClassName"), c.StorageClassName, utilvalidation.IsDNS1123Subdomain(c.StorageClassName))...)
	if q := c.Capacity; q != nil && q.Sign() < 0 {
		errs = append(errs, field.Invalid(field.NewPath("capacity"), q.String(), validation.IsNegativeErrorMsg))
	}
	if old == nil {
		return errs
	}
	if !equality.Semantic.DeepEqual(c.NodeTopology, old.NodeTopology) {
		errs = append(errs, field.Invalid(p, c.NodeTopology, "field is immutable"))
	}
	if c.StorageClassName != old.StorageClassName {
		errs = append(errs, field.Invalid(field.NewPath("storageClassName"), c.StorageClassName, "field is immutable"))
	}
	return errs
}
