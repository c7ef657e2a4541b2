package resource

import (
	"fmt"
	"regexp"
	"strings"

	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api"
)

const maxQualifiedName = resourcev1.DeviceMaxDomainLength + 1 + resourcev1.DeviceMaxIDLength

// semver is the grammar of https://semver.org, version 2.0.0.
var semver = func() *regexp.Regexp {
	const number, word, build = `(0|[1-9]\d*)`, `(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)`, `[0-9a-zA-Z-]+`
	return regexp.MustCompile(`^` + number + `\.` + number + `\.` + number +
		`(-` + word + `(\.` + word + `)*)?` + `(\+` + build + `(\.` + build + `)*)?$`)
}()

// validateDevice does not look again at capacities and taints that are as they were.
func validateDevice(d, old *resourcev1.Device, p *field.Path) field.ErrorList {
	errs := api.DNSLabel(d.Name, p.Child("name"))
	if n, limit := len(d.Attributes)+len(d.Capacity), resourcev1.ResourceSliceMaxAttributesAndCapacitiesPerDevice; n > limit {
		errs = append(errs, field.Invalid(p, n, fmt.Sprintf("the total number of attributes and capacities must not exceed %d", limit)))
	}
	if n, limit := attributeValues(d), resourcev1.ResourceSliceMaxAttributeValuesPerDevice; n > limit {
		errs = append(errs, field.Invalid(p, n, fmt.Sprintf("the total number of attribute values must not exceed %d", limit)))
	}
	for name, a := range d.Attributes {
		errs = append(errs, validateQualifiedName(name, p.Child("attributes"))...)
		errs = append(errs, validateAttribute(&a, p.Child("attributes").Key(shorten(string(name))))...)
	}
	if old == nil || !equality.Semantic.DeepEqual(old.Capacity, d.Capacity) {
		errs = append(errs, validateCapacities(d, p.Child("capacity"))...)
	}
	if old == nil || !equality.Semantic.DeepEqual(old.Taints, d.Taints) {
		errs = append(errs, validateTaints(d.Taints, p.Child("taints"))...)
	}
	errs = append(errs, each(d.ConsumesCounters, resourcev1.ResourceSliceMaxDeviceCounterConsumptionsPerDevice, p.Child("consumesCounters"),
		func(c *resourcev1.DeviceCounterConsumption, p *field.Path) field.ErrorList {
			return tooManyKeys(c.Counters, resourcev1.ResourceSliceMaxCountersPerDeviceCounterConsumption, p.Child("counters"))
		})...)
	return append(errs, validateBinding(d.BindingConditions, d.BindingFailureConditions, p)...)
}

func validateTaints(list []resourcev1.DeviceTaint, p *field.Path) field.ErrorList {
	if len(list) > resourcev1.DeviceTaintsMaxLength {
		return field.ErrorList{field.TooMany(p, len(list), resourcev1.DeviceTaintsMaxLength)}
	}
	return each(list, len(list), p, validateTaint)
}

func attributeValues(d *resourcev1.Device) int {
	n := 0
	for _, a := range d.Attributes {
		n += max(1, len(a.BoolValues)+len(a.IntValues)+len(a.StringValues)+len(a.VersionValues))
	}
	return n
}

// validateAttribute leaves it to declared rules that there is just one value.
func validateAttribute(a *resourcev1.DeviceAttribute, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	if a.StringValue != nil {
		errs = append(errs, notTooLong(*a.StringValue, p.Child("string"))...)
	}
	if a.VersionValue != nil {
		errs = append(errs, validateVersion(*a.VersionValue, p.Child("version"))...)
	}
	for _, list := range []struct {
		name  string
		empty bool
	}{
		{"bools", a.BoolValues != nil && len(a.BoolValues) == 0},
		{"ints", a.IntValues != nil && len(a.IntValues) == 0},
		{"strings", a.StringValues != nil && len(a.StringValues) == 0},
		{"versions", a.VersionValues != nil && len(a.VersionValues) == 0},
	} {
		if list.empty {
			errs = append(errs, field.Invalid(p.Child(list.name), []any{}, "must not be empty if specified"))
		}
	}
	for i, v := range a.VersionValues {
		errs = append(errs, validateVersion(v, p.Child("versions").Index(i))...)
	}
	return errs
}

func notTooLong(value string, p *field.Path) field.ErrorList {
	if len(value) > resourcev1.DeviceAttributeMaxValueLength {
		return field.ErrorList{field.TooLong(p, "", resourcev1.DeviceAttributeMaxValueLength)}
	}
	return nil
}

func validateVersion(value string, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	if !semver.MatchString(value) {
		errs = append(errs, field.Invalid(p, value, "must be a string compatible with semver.org spec 2.0.0"))
	}
	return append(errs, notTooLong(value, p)...)
}

// validateQualifiedName wants an identifier of C, perhaps behind a domain and a slash. Kubernetes lets names with more slashes pass.
func validateQualifiedName(name resourcev1.QualifiedName, p *field.Path) field.ErrorList {
	parts := strings.Split(string(name), "/")
	switch len(parts) {
	case 1:
		return validateIdentifier(parts[0], p)
	case 2:
		var errs field.ErrorList
		if parts[0] == "" {
			errs = append(errs, field.Invalid(p, "", "the domain must not be empty"))
		} else {
			errs = append(errs, validateDriverName(parts[0], p)...)
		}
		if parts[1] == "" {
			return append(errs, field.Invalid(p, "", "the name must not be empty"))
		}
		return append(errs, validateIdentifier(parts[1], p)...)
	}
	return nil
}

func validateIdentifier(id string, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	if len(id) > resourcev1.DeviceMaxIDLength {
		errs = append(errs, field.TooLong(p, "", resourcev1.DeviceMaxIDLength))
	}
	return append(errs, api.Invalid(p, id, content.IsCIdentifier(id))...)
}

// shorten leaves the middle of a key out that is too long for a field path.
func shorten(key string) string {
	if len(key) <= maxQualifiedName {
		return key
	}
	rest := maxQualifiedName - len("...")
	return key[:(rest+1)/2] + "..." + key[len(key)-rest/2:]
}
