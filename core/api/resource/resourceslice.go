package resource

import (
	"fmt"
	"slices"
	"strings"

	resourcev1 "k8s.io/api/resource/v1"

	"github.com/gantryio/gantry/core/api"
)

// ResourceSlices is all that the server, the printer and the docs know of ResourceSlice.
var ResourceSlices = api.Kind[resourcev1.ResourceSlice]{
	Group: "resource.k8s.io", Version: "v1", Name: "ResourceSlice", Plural: "resourceslices",
	Earlier:    []string{"resource.k8s.io/v1beta2"},
	Generation: true,
	Default: func(s *resourcev1.ResourceSlice) {
		for i := range s.Spec.Devices {
			for j := range s.Spec.Devices[i].Taints {
				defaultTaint(&s.Spec.Devices[i].Taints[j])
			}
		}
	},
	Prepare:  dropGated,
	Validate: validateSlice,
	Warn: func(s, _ *resourcev1.ResourceSlice) []string {
		if s.Spec.Driver == strings.ToLower(s.Spec.Driver) {
			return nil
		}
		return []string{fmt.Sprintf("spec.driver: driver names should be lowercase; %q contains uppercase characters", s.Spec.Driver)}
	},
	Columns: []api.Column[resourcev1.ResourceSlice]{
		api.NameColumn[resourcev1.ResourceSlice](),
		{Name: "Node", Description: "The node that has the devices.", Cell: func(s *resourcev1.ResourceSlice) any { return nodeName(s) }},
		{Name: "Driver", Description: "Whose devices they are.", Cell: func(s *resourcev1.ResourceSlice) any { return s.Spec.Driver }},
		{Name: "Pool", Description: "The pool that they belong to.", Cell: func(s *resourcev1.ResourceSlice) any { return s.Spec.Pool.Name }},
		api.AgeColumn[resourcev1.ResourceSlice](),
	},
	Fields: map[string]func(*resourcev1.ResourceSlice) string{
		resourcev1.ResourceSliceSelectorNodeName: nodeName,
		resourcev1.ResourceSliceSelectorDriver:   func(s *resourcev1.ResourceSlice) string { return s.Spec.Driver },
		resourcev1.ResourceSliceSelectorPoolName: func(s *resourcev1.ResourceSlice) string { return s.Spec.Pool.Name },
	},
	Indexed: []string{resourcev1.ResourceSliceSelectorNodeName},
}

func nodeName(s *resourcev1.ResourceSlice) string {
	if s.Spec.NodeName == nil {
		return ""
	}
	return *s.Spec.NodeName
}

// dropGated takes away what stands behind gates that are off, unless the slice had it before: it may come from a cluster where
// they are on.
func dropGated(s, old *resourcev1.ResourceSlice) {
	had := func(uses func(*resourcev1.Device) bool) bool {
		return old != nil && slices.ContainsFunc(old.Spec.Devices, func(d resourcev1.Device) bool { return uses(&d) })
	}
	if old == nil || old.Spec.PartitionTypeAttribute == nil {
		s.Spec.PartitionTypeAttribute = nil
	}
	if old == nil || len(old.Spec.SkipNodeOperations) == 0 {
		s.Spec.SkipNodeOperations = nil
	}
	groups, allocatable, lists := had(hasGroups), had(hasAllocatable), had(hasLists)
	for i := range s.Spec.Devices {
		d := &s.Spec.Devices[i]
		if !groups {
			for j := range d.ConsumesCounters {
				d.ConsumesCounters[j].CompatibilityGroups = nil
			}
		}
		if !allocatable {
			d.NodeAllocatableResources = nil
		}
		if !lists {
			for name, a := range d.Attributes {
				a.IntValues, a.BoolValues, a.StringValues, a.VersionValues = nil, nil, nil, nil
				d.Attributes[name] = a
			}
		}
	}
}

func hasGroups(d *resourcev1.Device) bool {
	return slices.ContainsFunc(d.ConsumesCounters, func(c resourcev1.DeviceCounterConsumption) bool { return len(c.CompatibilityGroups) > 0 })
}

func hasAllocatable(d *resourcev1.Device) bool { return len(d.NodeAllocatableResources) > 0 }

func hasLists(d *resourcev1.Device) bool {
	for _, a := range d.Attributes {
		if a.IntValues != nil || a.BoolValues != nil || a.StringValues != nil || a.VersionValues != nil {
			return true
		}
	}
	return false
}
