package apps

import (
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api"
)

// ControllerRevisions is all that the server, the printer and the docs know of ControllerRevision.
var ControllerRevisions = api.Kind[appsv1.ControllerRevision]{
	Group: "apps", Version: "v1", Name: "ControllerRevision", Plural: "controllerrevisions", Namespaced: true,
	Earlier:  []string{"apps/v1beta1", "apps/v1beta2"},
	Validate: validateControllerRevision,
	Columns: []api.Column[appsv1.ControllerRevision]{
		api.NameColumn[appsv1.ControllerRevision](),
		{Name: "Controller", Description: "Controller of the object", Cell: func(r *appsv1.ControllerRevision) any { return controllerOf(r) }},
		{Name: "Revision", Description: "Orders the revisions of one controller.", Cell: func(r *appsv1.ControllerRevision) any { return r.Revision }},
		api.AgeColumn[appsv1.ControllerRevision](),
	},
}

func controllerOf(r *appsv1.ControllerRevision) string {
	ref := metav1.GetControllerOf(r)
	if ref == nil {
		return "<none>"
	}
	kind := strings.ToLower(ref.Kind)
	if gv, err := schema.ParseGroupVersion(ref.APIVersion); err == nil && gv.Group != "" {
		kind += "." + gv.Group
	}
	return kind + "/" + ref.Name
}

func validateControllerRevision(r, old *appsv1.ControllerRevision) field.ErrorList {
	var errs field.ErrorList
	data := field.NewPath("data")
	if len(r.Data.Raw) == 0 && r.Data.Object == nil {
		errs = append(errs, field.Required(data, "data is mandatory"))
	}
	errs = append(errs, validation.ValidateNonnegativeField(r.Revision, field.NewPath("revision"))...)
	if old != nil {
		errs = append(errs, validation.ValidateImmutableField(r.Data, old.Data, data)...)
	}
	return errs
}
