package storage

import (
	"fmt"
	"strings"

	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/validation"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api"
)

// maxNodeID is what drivers may call a node at most.
const maxNodeID = 256

// CSINodes is all that the server, the printer and the docs know of CSINode.
var CSINodes = api.Kind[storagev1.CSINode]{
	Group: "storage.k8s.io", Version: "v1", Name: "CSINode", Plural: "csinodes",
	Earlier:                      []string{"storage.k8s.io/v1beta1"},
	UnconditionalUpdateForbidden: true,
	// The status is of a feature that is not on.
	Prepare:  func(n, _ *storagev1.CSINode) { n.Status = storagev1.CSINodeStatus{} },
	Validate: validateCSINode,
	Columns: []api.Column[storagev1.CSINode]{
		api.NameColumn[storagev1.CSINode](),
		{Name: "Drivers", Type: "integer", Description: "How many drivers are registered on the node.", Cell: func(n *storagev1.CSINode) any { return int64(len(n.Spec.Drivers)) }},
		api.AgeColumn[storagev1.CSINode](),
	},
}

func validateCSINode(n, old *storagev1.CSINode) field.ErrorList {
	p := field.NewPath("spec", "drivers")
	var errs field.ErrorList
	seen := map[string]bool{}
	for i := range n.Spec.Drivers {
		d := &n.Spec.Drivers[i]
		errs = append(errs, validateNodeDriver(d, p.Index(i))...)
		if seen[d.Name] {
			errs = append(errs, field.Duplicate(p.Index(i).Child("name"), d.Name))
		}
		seen[d.Name] = true
	}
	if old == nil {
		return errs
	}
	// Drivers come and go; what one has said of itself stays, but for how many volumes it can have.
	for _, was := range old.Spec.Drivers {
		for _, is := range n.Spec.Drivers {
			if was.Name == is.Name {
				was.Allocatable, is.Allocatable = nil, nil
				errs = append(errs, validation.ValidateImmutableField(is, was, p)...)
			}
		}
	}
	return errs
}

func validateNodeDriver(d *storagev1.CSINodeDriver, p *field.Path) field.ErrorList {
	errs := validateDriverName(d.Name, p.Child("name"))
	if d.NodeID == "" {
		errs = append(errs, field.Required(p.Child("nodeID"), d.NodeID))
	}
	if len(d.NodeID) > maxNodeID {
		errs = append(errs, field.Invalid(p.Child("nodeID"), d.NodeID, fmt.Sprintf("must be %d characters or less", maxNodeID)))
	}
	if a := d.Allocatable; a != nil && a.Count != nil {
		errs = append(errs, validation.ValidateNonnegativeField(int64(*a.Count), p.Child("allocatable", "count"))...)
	}
	seen := map[string]bool{}
	for _, key := range d.TopologyKeys {
		if key == "" {
			errs = append(errs, field.Required(p, key))
		}
		if seen[key] {
			errs = append(errs, field.Duplicate(p, key))
		}
		seen[key] = true
		errs = append(errs, api.Invalid(p, key, utilvalidation.IsQualifiedName(key))...)
	}
	return errs
}

// validateDriverName is for names of drivers that are more than a provisioner's.
func validateDriverName(name string, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	if name == "" {
		errs = append(errs, field.Required(p, name))
	}
	if len(name) > utilvalidation.DNS1123LabelMaxLength {
		errs = append(errs, field.TooLong(p, name, utilvalidation.DNS1123LabelMaxLength))
	}
	return append(errs, api.Invalid(p, name, utilvalidation.IsDNS1123Subdomain(strings.ToLower(name)))...)
}
