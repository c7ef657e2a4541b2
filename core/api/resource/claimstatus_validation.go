package resource

import (
	resourcev1 "k8s.io/api/resource/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api/core"

	"github.com/gantryio/gantry/core/api"
)

func validateClaimStatus(c, old *resourcev1.ResourceClaim) field.ErrorList {
	p := field.NewPath("status")
	errs := declared(resourcev1.Validate_ResourceClaimStatus, p, &c.Status, &old.Status)
	errs = append(errs, validateReserved(c, old, p.Child("reservedFor"))...)

	allocated := devicesOf(c.Status.Allocation)
	for i := range c.Status.Devices {
		errs = append(errs, validateDeviceStatus(&c.Status.Devices[i], allocated, p.Child("devices").Index(i))...)
	}
	if a := c.Status.Allocation; a != nil && old.Status.Allocation == nil {
		errs = append(errs, validateAllocation(a, namesOf(&c.Spec.Devices), p.Child("allocation"))...)
	}
	return errs
}

func validateReserved(c, old *resourcev1.ResourceClaim, p *field.Path) field.ErrorList {
	list := c.Status.ReservedFor
	errs := each(list, resourcev1.ResourceClaimReservedForMaxSize, p,
		func(r *resourcev1.ResourceClaimConsumerReference, p *field.Path) field.ErrorList {
			var errs field.ErrorList
			for _, f := range []struct{ name, value string }{{"resource", r.Resource}, {"name", r.Name}, {"uid", string(r.UID)}} {
				if f.value == "" {
					errs = append(errs, field.Required(p.Child(f.name), ""))
				}
			}
			return errs
		})
	if len(list) == 0 {
		return errs
	}
	if c.Status.Allocation == nil {
		return append(errs, field.Forbidden(p, "may not be specified when `allocated` is not set"))
	}
	if c.DeletionTimestamp == nil {
		return errs
	}
	had := map[resourcev1.ResourceClaimConsumerReference]bool{}
	for _, r := range old.Status.ReservedFor {
		had[r] = true
	}
	for _, r := range list {
		if !had[r] {
			return append(errs, field.Forbidden(p, "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set"))
		}
	}
	return errs
}

func validateAllocation(a *resourcev1.AllocationResult, names requestNames, p *field.Path) field.ErrorList {
	devices := p.Child("devices")
	errs := each(a.Devices.Results, resourcev1.AllocationResultsMaxSize, devices.Child("results"),
		func(r *resourcev1.DeviceRequestAllocationResult, p *field.Path) field.ErrorList {
			errs := names.validateReference(r.Request, p.Child("request"))
			errs = append(errs, api.DNSLabel(r.Device, p.Child("device"))...)
			errs = append(errs, validateBinding(r.BindingConditions, r.BindingFailureConditions, p)...)
			return append(errs, validateTolerations(r.Tolerations, p.Child("tolerations"))...)
		})
	// Those of the classes come beside those of the claim.
	errs = append(errs, each(a.Devices.Config, 2*resourcev1.DeviceConfigMaxSize, devices.Child("config"),
		func(c *resourcev1.DeviceAllocationConfiguration, p *field.Path) field.ErrorList {
			errs := names.validateReferences(c.Requests, p.Child("requests"))
			return append(errs, validateConfiguration(&c.DeviceConfiguration, p, false)...)
		})...)
	if a.NodeSelector != nil {
		errs = append(errs, core.ValidateNodeSelector(a.NodeSelector, p.Child("nodeSelector"))...)
	}
	return errs
}

// validateBinding checks the conditions that a device must have, and may not have, before a pod is bound that uses it.
func validateBinding(conditions, failures []string, p *field.Path) field.ErrorList {
	label := func(name *string, p *field.Path) field.ErrorList { return metavalidation.ValidateLabelName(*name, p) }
	good, bad := p.Child("bindingConditions"), p.Child("bindingFailureConditions")
	errs := each(conditions, resourcev1.BindingConditionsMaxSize, good, label)
	errs = append(errs, each(failures, resourcev1.BindingFailureConditionsMaxSize, bad, label)...)
	known, failed := map[string]bool{}, map[string]bool{}
	for i, c := range conditions {
		if known[c] {
			errs = append(errs, field.Duplicate(good.Index(i), c))
		}
		known[c] = true
	}
	for i, c := range failures {
		if failed[c] {
			errs = append(errs, field.Duplicate(bad.Index(i), c))
		}
		failed[c] = true
		if known[c] {
			errs = append(errs, field.Invalid(bad.Index(i), c, "bindingFailureConditions must not overlap with bindingConditions"))
		}
	}
	switch {
	case len(conditions) == 0 && len(failures) > 0:
		errs = append(errs, field.Invalid(good, conditions, "bindingConditions are required to use bindingFailureConditions"))
	case len(failures) == 0 && len(conditions) > 0:
		errs = append(errs, field.Invalid(bad, failures, "bindingFailureConditions are required to use bindingConditions"))
	}
	return errs
}

func validateDeviceStatus(d *resourcev1.AllocatedDeviceStatus, allocated map[deviceID]bool, p *field.Path) field.ErrorList {
	errs := validateDriverName(d.Driver, p.Child("driver"))
	errs = append(errs, validatePoolName(d.Pool, p.Child("pool"))...)
	errs = append(errs, api.DNSLabel(d.Device, p.Child("device"))...)
	if id := statusID(d); !allocated[id] {
		errs = append(errs, field.Invalid(p, id.String(), "must be an allocated device in the claim"))
	}
	if limit := resourcev1.AllocatedDeviceStatusMaxConditions; len(d.Conditions) > limit {
		errs = append(errs, field.TooMany(p.Child("conditions"), len(d.Conditions), limit))
	}
	errs = append(errs, metavalidation.ValidateConditions(d.Conditions, p.Child("conditions"))...)
	if d.Data != nil && len(d.Data.Raw) > 0 {
		errs = append(errs, validateParameters(*d.Data, p.Child("data"), false, resourcev1.AllocatedDeviceStatusDataMaxLength)...)
	}
	if n := d.NetworkData; n != nil {
		errs = append(errs, each(n.IPs, resourcev1.NetworkDeviceDataMaxIPs, p.Child("networkData", "ips"),
			func(ip *string, p *field.Path) field.ErrorList { return utilvalidation.IsValidInterfaceAddress(p, *ip) })...)
	}
	return errs
}
