// Package node declares the kind of the group node.k8s.io/v1: what the server, the printer and the store
// know of RuntimeClass.
package node

import (
	nodev1 "k8s.io/api/node/v1"
	"k8s.io/apimachinery/pkg/api/validation"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/api/core"
)

// RuntimeClasses is all that the server, the printer and the docs know of RuntimeClass.
var RuntimeClasses = api.Kind[nodev1.RuntimeClass]{
	Group: "node.k8s.io", Version: "v1", Name: "RuntimeClass", Plural: "runtimeclasses",
	Earlier:                      []string{"node.k8s.io/v1beta1"},
	UnconditionalUpdateForbidden: true,
	Validate:                     validateRuntimeClass,
	Columns: []api.Column[nodev1.RuntimeClass]{
		api.NameColumn[nodev1.RuntimeClass](),
		{Name: "Handler", Description: "The configuration of the runtime that pods of the class get.", Cell: func(c *nodev1.RuntimeClass) any { return c.Handler }},
		api.AgeColumn[nodev1.RuntimeClass](),
	},
}

func validateRuntimeClass(c, old *nodev1.RuntimeClass) field.ErrorList {
	var errs field.ErrorList
	handler := field.NewPath("handler")
	if c.Handler == "" {
		errs = append(errs, field.Required(handler, ""))
	} else {
		for _, msg := range utilvalidation.IsDNS1123Label(c.Handler) {
			errs = append(errs, field.Invalid(handler, c.Handler, msg))
		}
	}
	if c.Overhead != nil {
		errs = append(errs, core.ValidateOverhead(c.Overhead.PodFixed, field.NewPath("overhead", "podFixed"))...)
	}
	if s := c.Scheduling; s != nil {
		p := field.NewPath("scheduling")
		errs = append(errs, metavalidation.ValidateLabels(s.NodeSelector, p.Child("nodeSelector"))...)
		errs = append(errs, core.ValidateTolerations(s.Tolerations, p.Child("tolerations"))...)
	}
	if old != nil {
		errs = append(errs, validation.ValidateImmutableField(c.Handler, old.Handler, handler)...)
	}
	return errs
}
