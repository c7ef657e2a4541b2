package resource

import (
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/api/core"
)

// ResourceClaimTemplates is all that the server, the printer and the docs know of ResourceClaimTemplate.
var ResourceClaimTemplates = api.Kind[resourcev1.ResourceClaimTemplate]{
	Group: "resource.k8s.io", Version: "v1", Name: "ResourceClaimTemplate", Plural: "resourceclaimtemplates",
	Earlier:    []string{"resource.k8s.io/v1beta2"},
	Namespaced: true,
	Default:    func(t *resourcev1.ResourceClaimTemplate) { defaultRequests(t.Spec.Spec.Devices.Requests) },
	Prepare: func(t, old *resourcev1.ResourceClaimTemplate) {
		if old == nil {
			dropDerived(t.Spec.Spec.Devices.Requests)
		}
	},
	Validate: validateTemplate,
	Columns: []api.Column[resourcev1.ResourceClaimTemplate]{
		api.NameColumn[resourcev1.ResourceClaimTemplate](),
		api.AgeColumn[resourcev1.ResourceClaimTemplate](),
	},
}

func validateTemplate(t, old *resourcev1.ResourceClaimTemplate) field.ErrorList {
	p := field.NewPath("spec")
	var was *resourcev1.ResourceClaimTemplateSpec
	if old != nil {
		was = &old.Spec
	}
	errs := declared(resourcev1.Validate_ResourceClaimTemplateSpec, p, &t.Spec, was)
	errs = append(errs, core.ValidateTemplateMetadata(&t.Spec.ObjectMeta, p.Child("metadata"))...)
	errs = append(errs, validateDevices(&t.Spec.Spec.Devices, p.Child("spec", "devices"))...)
	if was != nil && !equality.Semantic.DeepEqual(t.Spec, *was) {
		errs = append(errs, field.Invalid(p, t.Spec, apivalidation.FieldImmutableErrorMsg))
	}
	return errs
}
