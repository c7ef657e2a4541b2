package resource

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api/core"

	"github.com/gantryio/gantry/core/api"
)

const oneOfNodes = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required"

func validateSlice(s, old *resourcev1.ResourceSlice) field.ErrorList {
	p := field.NewPath("spec")
	var was *resourcev1.ResourceSliceSpec
	if old != nil {
		was = &old.Spec
	}
	errs := declared(resourcev1.Validate_ResourceSliceSpec, p, &s.Spec, was)
	errs = append(errs, validateDriverName(s.Spec.Driver, p.Child("driver"))...)
	errs = append(errs, validatePool(&s.Spec.Pool, p.Child("pool"))...)
	if was != nil {
		errs = append(errs, validation.ValidateImmutableField(s.Spec.Pool.Name, was.Pool.Name, p.Child("pool", "name"))...)
		errs = append(errs, validation.ValidateImmutableField(s.Spec.Driver, was.Driver, p.Child("driver"))...)
		errs = append(errs, validation.ValidateImmutableField(s.Spec.NodeName, was.NodeName, p.Child("nodeName"))...)
	}
	errs = append(errs, validateNodes(&s.Spec, p)...)
	if s.Spec.SharedCounters != nil && s.Spec.Devices != nil {
		errs = append(errs, field.Invalid(p, "", "only one of `sharedCounters` or `devices` is allowed"))
	}
	errs = append(errs, validateAllDevices(&s.Spec, was, p.Child("devices"))...)
	return append(errs, each(s.Spec.SharedCounters, resourcev1.ResourceSliceMaxCounterSets, p.Child("sharedCounters"),
		func(c *resourcev1.CounterSet, p *field.Path) field.ErrorList {
			return tooManyKeys(c.Counters, resourcev1.ResourceSliceMaxCountersPerCounterSet, p.Child("counters"))
		})...)
}

func tooManyKeys[V any](m map[string]V, limit int, p *field.Path) field.ErrorList {
	if len(m) > limit {
		return field.ErrorList{field.TooMany(p, len(m), limit)}
	}
	return nil
}

func validatePool(pool *resourcev1.ResourcePool, p *field.Path) field.ErrorList {
	errs := validatePoolName(pool.Name, p.Child("name"))
	if pool.ResourceSliceCount <= 0 {
		errs = append(errs, field.Invalid(p.Child("resourceSliceCount"), pool.ResourceSliceCount, "must be greater than zero"))
	}
	if pool.Generation < 0 {
		errs = append(errs, field.Invalid(p.Child("generation"), pool.Generation, "must be greater than or equal to zero"))
	}
	return errs
}

// nodes is who can use devices, as slices and devices say it.
type nodes struct {
	name     *string
	selector *corev1.NodeSelector
	all      *bool
}

// validate returns the fields that are set.
func (n nodes) validate(p *field.Path, emptyName string) (set []string, errs field.ErrorList) {
	if n.name != nil && *n.name == "" {
		errs = append(errs, field.Invalid(p.Child("nodeName"), "", emptyName))
	} else if n.name != nil {
		set = append(set, "`nodeName`")
		errs = append(errs, api.DNSSubdomain(*n.name, p.Child("nodeName"))...)
	}
	if n.selector != nil {
		set = append(set, "`nodeSelector`")
		errs = append(errs, core.ValidateNodeSelector(n.selector, p.Child("nodeSelector"))...)
	}
	more, wrong := trueOrUnset(n.all, "allNodes", p)
	return append(set, more...), append(errs, wrong...)
}

func trueOrUnset(value *bool, name string, p *field.Path) (set []string, errs field.ErrorList) {
	switch {
	case value == nil:
		return nil, nil
	case *value:
		return []string{"`" + name + "`"}, nil
	}
	return nil, field.ErrorList{field.Invalid(p.Child(name), false, "must be either unset or set to true")}
}

func validateNodes(s *resourcev1.ResourceSliceSpec, p *field.Path) field.ErrorList {
	set, errs := nodes{s.NodeName, s.NodeSelector, s.AllNodes}.validate(p, "must be either unset or set to a non-empty string")
	if n := s.NodeSelector; n != nil && len(n.NodeSelectorTerms) != 1 {
		errs = append(errs, field.Invalid(p.Child("nodeSelector", "nodeSelectorTerms"), n.NodeSelectorTerms, "must have exactly one node selector term"))
	}
	more, wrong := trueOrUnset(s.PerDeviceNodeSelection, "perDeviceNodeSelection", p)
	set, errs = append(set, more...), append(errs, wrong...)
	switch len(set) {
	case 0:
		errs = append(errs, field.Required(p, oneOfNodes))
	case 1:
	default:
		errs = append(errs, field.Invalid(p, "{"+strings.Join(set, ", ")+"}", oneOfNodes+", but multiple fields are set"))
	}
	return errs
}

func validateAllDevices(s, was *resourcev1.ResourceSliceSpec, p *field.Path) field.ErrorList {
	limit := resourcev1.ResourceSliceMaxDevices
	for i := range s.Devices {
		if d := &s.Devices[i]; len(d.Taints) > 0 || len(d.ConsumesCounters) > 0 || hasLists(d) {
			limit = resourcev1.ResourceSliceMaxDevicesWithAdvancedFeatures
		}
	}
	if len(s.Devices) > limit {
		return field.ErrorList{field.TooMany(p, len(s.Devices), limit)}
	}
	before := map[string]*resourcev1.Device{}
	if was != nil {
		for i := range was.Devices {
			before[was.Devices[i].Name] = &was.Devices[i]
		}
	}
	perDevice := s.PerDeviceNodeSelection != nil && *s.PerDeviceNodeSelection
	var errs field.ErrorList
	seen := map[string]bool{}
	for i := range s.Devices {
		d, at := &s.Devices[i], p.Index(i)
		errs = append(errs, validateDevice(d, before[d.Name], at)...)
		errs = append(errs, validateDeviceNodes(d, perDevice, at)...)
		if seen[d.Name] {
			errs = append(errs, field.Duplicate(at, d.Name))
		}
		seen[d.Name] = true
	}
	return errs
}

func validateDeviceNodes(d *resourcev1.Device, perDevice bool, p *field.Path) field.ErrorList {
	const detail = "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set to true in the ResourceSlice spec"
	if !perDevice {
		if d.NodeName != nil || d.NodeSelector != nil || d.AllNodes != nil {
			return field.ErrorList{field.Invalid(p, nil, "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in the ResourceSlice spec")}
		}
		return nil
	}
	set, errs := nodes{d.NodeName, d.NodeSelector, d.AllNodes}.validate(p, "must not be empty")
	switch len(set) {
	case 0:
		errs = append(errs, field.Required(p, detail))
	case 1:
	default:
		errs = append(errs, field.Invalid(p, fmt.Sprintf("{%s}", strings.Join(set, ", ")), detail))
	}
	return errs
}
