package resource

import (
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api"
)

// DeviceClasses is all that the server, the printer and the docs know of DeviceClass.
var DeviceClasses = api.Kind[resourcev1.DeviceClass]{
	Group: "resource.k8s.io", Version: "v1", Name: "DeviceClass", Plural: "deviceclasses",
	Earlier:    []string{"resource.k8s.io/v1beta1", "resource.k8s.io/v1beta2"},
	Generation: true,
	Validate:   validateDeviceClass,
	Columns: []api.Column[resourcev1.DeviceClass]{
		api.NameColumn[resourcev1.DeviceClass](),
		api.AgeColumn[resourcev1.DeviceClass](),
	},
}

func validateDeviceClass(c, old *resourcev1.DeviceClass) field.ErrorList {
	p := field.NewPath("spec")
	var was *resourcev1.DeviceClassSpec
	if old != nil {
		was = &old.Spec
	}
	errs := declared(resourcev1.Validate_DeviceClassSpec, p, &c.Spec, was)
	storedSelectors := was != nil && equality.Semantic.DeepEqual(c.Spec.Selectors, was.Selectors)
	errs = append(errs, validateSelectors(c.Spec.Selectors, p.Child("selectors"), storedSelectors)...)
	storedConfig := was != nil && equality.Semantic.DeepEqual(c.Spec.Config, was.Config)
	return append(errs, each(c.Spec.Config, resourcev1.DeviceConfigMaxSize, p.Child("config"),
		func(config *resourcev1.DeviceClassConfiguration, p *field.Path) field.ErrorList {
			return validateConfiguration(&config.DeviceConfiguration, p, storedConfig)
		})...)
}

// validateConfiguration checks what is handed to a driver; its name is checked by declared rules.
func validateConfiguration(c *resourcev1.DeviceConfiguration, p *field.Path, stored bool) field.ErrorList {
	if c.Opaque == nil {
		return field.ErrorList{field.Required(p.Child("opaque"), "")}
	}
	return validateParameters(c.Opaque.Parameters, p.Child("opaque", "parameters"), stored, resourcev1.OpaqueParametersMaxLength)
}
