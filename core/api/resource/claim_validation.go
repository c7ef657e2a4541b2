package resource

import (
	"fmt"
	"strings"

	resourcev1 "k8s.io/api/resource/v1"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api"
)

const noSuchRequest = "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'"

// requestNames has the requests of a claim, and the alternatives of each.
type requestNames map[string]map[string]bool

func namesOf(c *resourcev1.DeviceClaim) requestNames {
	names := requestNames{}
	for _, r := range c.Requests {
		sub := map[string]bool{}
		for _, s := range r.FirstAvailable {
			sub[s.Name] = true
		}
		names[r.Name] = sub
	}
	return names
}

// validateReference wants the name of a request, or of an alternative in it.
func (n requestNames) validateReference(ref string, p *field.Path) field.ErrorList {
	parts := strings.Split(ref, "/")
	if len(parts) > 2 {
		return field.ErrorList{field.Invalid(p, ref, noSuchRequest)}
	}
	var errs field.ErrorList
	for _, part := range parts {
		errs = append(errs, api.DNSLabel(part, p)...)
	}
	sub, known := n[parts[0]]
	if !known || len(parts) == 2 && !sub[parts[1]] {
		errs = append(errs, field.Invalid(p, ref, noSuchRequest))
	}
	return errs
}

func (n requestNames) validateReferences(list []string, p *field.Path) field.ErrorList {
	return each(list, resourcev1.DeviceRequestsMaxSize, p, func(ref *string, p *field.Path) field.ErrorList {
		return n.validateReference(*ref, p)
	})
}

// validateDevices checks of a new claim what no declared rule does.
func validateDevices(c *resourcev1.DeviceClaim, p *field.Path) field.ErrorList {
	names := namesOf(c)
	errs := each(c.Requests, resourcev1.DeviceRequestsMaxSize, p.Child("requests"), validateRequest)
	errs = append(errs, each(c.Constraints, resourcev1.DeviceConstraintsMaxSize, p.Child("constraints"),
		func(c *resourcev1.DeviceConstraint, p *field.Path) field.ErrorList {
			errs := names.validateReferences(c.Requests, p.Child("requests"))
			if c.MatchAttribute == nil && c.DistinctAttribute == nil {
				errs = append(errs, field.Required(p, `exactly one of "matchAttribute" or "distinctAttribute" is required, but multiple fields are set`))
			}
			return errs
		})...)
	return append(errs, each(c.Config, resourcev1.DeviceConfigMaxSize, p.Child("config"),
		func(c *resourcev1.DeviceClaimConfiguration, p *field.Path) field.ErrorList {
			errs := names.validateReferences(c.Requests, p.Child("requests"))
			return append(errs, validateConfiguration(&c.DeviceConfiguration, p, false)...)
		})...)
}

func validateRequest(r *resourcev1.DeviceRequest, p *field.Path) field.ErrorList {
	errs := api.DNSLabel(r.Name, p.Child("name"))
	switch {
	case r.Exactly == nil && len(r.FirstAvailable) == 0:
		return append(errs, field.Required(p, "exactly one of `exactly` or `firstAvailable` is required"))
	case r.Exactly != nil && len(r.FirstAvailable) > 0:
		return append(errs, field.Invalid(p, nil, "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set"))
	case r.Exactly != nil:
		return append(errs, validateExactly(r.Exactly, p.Child("exactly"))...)
	}
	return append(errs, each(r.FirstAvailable, resourcev1.FirstAvailableDeviceRequestMaxSize, p.Child("firstAvailable"), validateAlternative)...)
}

func validateExactly(r *resourcev1.ExactDeviceRequest, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	if r.DeviceClassName == "" {
		errs = append(errs, field.Required(p.Child("deviceClassName"), ""))
	} else {
		errs = append(errs, api.DNSSubdomain(r.DeviceClassName, p.Child("deviceClassName"))...)
	}
	errs = append(errs, validateSelectors(r.Selectors, p.Child("selectors"), false)...)
	errs = append(errs, validateCount(r.AllocationMode, r.Count, p.Child("count"))...)
	return append(errs, validateTolerations(r.Tolerations, p.Child("tolerations"))...)
}

func validateAlternative(r *resourcev1.DeviceSubRequest, p *field.Path) field.ErrorList {
	errs := api.DNSLabel(r.Name, p.Child("name"))
	errs = append(errs, validateSelectors(r.Selectors, p.Child("selectors"), false)...)
	errs = append(errs, validateCount(r.AllocationMode, r.Count, p.Child("count"))...)
	return append(errs, validateTolerations(r.Tolerations, p.Child("tolerations"))...)
}

func validateCount(mode resourcev1.DeviceAllocationMode, count int64, p *field.Path) field.ErrorList {
	switch {
	case mode == resourcev1.DeviceAllocationModeAll && count != 0:
		return field.ErrorList{field.Invalid(p, count, fmt.Sprintf("must not be specified when allocationMode is '%s'", mode))}
	case mode == resourcev1.DeviceAllocationModeExactCount && count <= 0:
		return field.ErrorList{field.Invalid(p, count, "must be greater than zero")}
	}
	return nil
}

func validateTolerations(list []resourcev1.DeviceToleration, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, t := range list {
		at := p.Index(i).Child("value")
		switch {
		case t.Operator == resourcev1.DeviceTolerationOpExists && t.Value != "":
			errs = append(errs, field.Invalid(at, t.Value, "must be empty for operator `Exists`"))
		case t.Operator == resourcev1.DeviceTolerationOpEqual:
			errs = append(errs, api.Invalid(at, t.Value, utilvalidation.IsValidLabelValue(t.Value))...)
		}
	}
	return errs
}
