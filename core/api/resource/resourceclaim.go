package resource

import (
	"slices"
	"strings"

	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api"
)

// ResourceClaims is all that the server, the printer and the docs know of ResourceClaim.
var ResourceClaims = api.Kind[resourcev1.ResourceClaim]{
	Group: "resource.k8s.io", Version: "v1", Name: "ResourceClaim", Plural: "resourceclaims",
	Earlier:    []string{"resource.k8s.io/v1beta2"},
	Namespaced: true, Subresources: api.Status,
	Default:        func(c *resourcev1.ResourceClaim) { defaultRequests(c.Spec.Devices.Requests) },
	Prepare:        prepareClaim,
	Validate:       validateClaim,
	ValidateStatus: validateClaimStatus,
	Columns: []api.Column[resourcev1.ResourceClaim]{
		api.NameColumn[resourcev1.ResourceClaim](),
		{Name: "State", Description: "Whether it is allocated, and whether somebody uses it.", Cell: func(c *resourcev1.ResourceClaim) any { return state(c) }},
		api.AgeColumn[resourcev1.ResourceClaim](),
	},
}

func state(c *resourcev1.ResourceClaim) string {
	var words []string
	if c.DeletionTimestamp != nil {
		words = append(words, "deleted")
	} else if c.Status.Allocation == nil {
		words = append(words, "pending")
	}
	if c.Status.Allocation != nil {
		words = append(words, "allocated")
		if len(c.Status.ReservedFor) > 0 {
			words = append(words, "reserved")
		}
	}
	return strings.Join(words, ",")
}

// defaultRequests asks for one device where nothing else is said.
func defaultRequests(list []resourcev1.DeviceRequest) {
	one := func(mode *resourcev1.DeviceAllocationMode, count *int64) {
		if *mode == "" {
			*mode = resourcev1.DeviceAllocationModeExactCount
		}
		if *mode == resourcev1.DeviceAllocationModeExactCount && *count == 0 {
			*count = 1
		}
	}
	for i := range list {
		if r := list[i].Exactly; r != nil {
			one(&r.AllocationMode, &r.Count)
		}
		for j := range list[i].FirstAvailable {
			r := &list[i].FirstAvailable[j]
			one(&r.AllocationMode, &r.Count)
		}
	}
}

// dropDerived takes away what stands behind the gate DRADerivedAttributes, which is off.
func dropDerived(list []resourcev1.DeviceRequest) {
	for i := range list {
		if r := list[i].Exactly; r != nil {
			r.DerivedAttributes = nil
		}
		for j := range list[i].FirstAvailable {
			list[i].FirstAvailable[j].DerivedAttributes = nil
		}
	}
}

func prepareClaim(c, old *resourcev1.ResourceClaim) {
	if old == nil {
		dropDerived(c.Spec.Devices.Requests)
		return
	}
	if a := c.Status.Allocation; a != nil && !skipsOperations(old.Status.Allocation) {
		for i := range a.Devices.Results {
			a.Devices.Results[i].SkipNodeOperations = nil // behind DRAOptionalNodeOperations, which is off
		}
	}
	dropReleased(c, old)
}

func skipsOperations(a *resourcev1.AllocationResult) bool {
	return a != nil && slices.ContainsFunc(a.Devices.Results, func(r resourcev1.DeviceRequestAllocationResult) bool {
		return len(r.SkipNodeOperations) > 0
	})
}

// dropReleased takes away what drivers said about devices that the claim had and has no longer, so that who releases them need
// not know of it.
func dropReleased(c, old *resourcev1.ResourceClaim) {
	had, has := devicesOf(old.Status.Allocation), devicesOf(c.Status.Allocation)
	c.Status.Devices = slices.DeleteFunc(c.Status.Devices, func(d resourcev1.AllocatedDeviceStatus) bool {
		id := statusID(&d)
		return had[id] && !has[id]
	})
	if len(c.Status.Devices) == 0 {
		c.Status.Devices = nil
	}
}

// deviceID names a device, or a share of one.
type deviceID struct{ driver, pool, device, share string }

func (id deviceID) String() string {
	s := id.driver + "/" + id.pool + "/" + id.device
	if id.share != "" {
		s += "/" + id.share
	}
	return s
}

func statusID(d *resourcev1.AllocatedDeviceStatus) deviceID {
	id := deviceID{driver: d.Driver, pool: d.Pool, device: d.Device}
	if d.ShareID != nil {
		id.share = *d.ShareID
	}
	return id
}

func devicesOf(a *resourcev1.AllocationResult) map[deviceID]bool {
	out := map[deviceID]bool{}
	if a == nil {
		return out
	}
	for _, r := range a.Devices.Results {
		id := deviceID{driver: r.Driver, pool: r.Pool, device: r.Device}
		if r.ShareID != nil {
			id.share = string(*r.ShareID)
		}
		out[id] = true
	}
	return out
}

// validateClaim checks a new claim; what an old one asks for does not change.
func validateClaim(c, old *resourcev1.ResourceClaim) field.ErrorList {
	p := field.NewPath("spec")
	if old == nil {
		errs := declared(resourcev1.Validate_ResourceClaimSpec, p, &c.Spec, nil)
		return append(errs, validateDevices(&c.Spec.Devices, p.Child("devices"))...)
	}
	if !equality.Semantic.DeepEqual(c.Spec, old.Spec) {
		return field.ErrorList{field.Invalid(p, nil, validation.FieldImmutableErrorMsg)}
	}
	return nil
}
