package core

import (
	"path"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/intstr"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api"
)

// oneOf refuses what is not in the list; an empty value is missing rather than wrong.
func oneOf[T ~string](value T, p *field.Path, allowed ...T) field.ErrorList {
	switch {
	case slices.Contains(allowed, value):
		return nil
	case value == "":
		return field.ErrorList{field.Required(p, "")}
	}
	return field.ErrorList{field.NotSupported(p, value, slices.Sorted(slices.Values(allowed)))}
}

// optionalOneOf takes nil too.
func optionalOneOf[T ~string](value *T, p *field.Path, allowed ...T) field.ErrorList {
	if value == nil || slices.Contains(allowed, *value) {
		return nil
	}
	return field.ErrorList{field.NotSupported(p, *value, slices.Sorted(slices.Values(allowed)))}
}

func required(value string, p *field.Path) field.ErrorList {
	if value == "" {
		return field.ErrorList{field.Required(p, "")}
	}
	return nil
}

func qualifiedName(value string, p *field.Path) field.ErrorList {
	return api.Invalid(p, value, utilvalidation.IsQualifiedName(value))
}

// requiredDNSLabel is for the names inside an object.
func requiredDNSLabel(value string, p *field.Path) field.ErrorList {
	if value == "" {
		return field.ErrorList{field.Required(p, "")}
	}
	return api.DNSLabel(value, p)
}

func nonNegative[T ~int32 | ~int64](value T, p *field.Path) field.ErrorList {
	return validation.ValidateNonnegativeField(int64(value), p)
}

func portOrName(port intstr.IntOrString, p *field.Path) field.ErrorList {
	if port.Type == intstr.String {
		return api.Invalid(p, port.StrVal, utilvalidation.IsValidPortName(port.StrVal))
	}
	return api.Invalid(p, port.IntValue(), utilvalidation.IsValidPortNum(port.IntValue()))
}

// descendingPath refuses paths that leave the folder that they are relative to.
func descendingPath(value string, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	if path.IsAbs(value) {
		errs = append(errs, field.Invalid(p, value, "must be a relative path"))
	}
	return append(errs, noBacksteps(value, p)...)
}

func noBacksteps(value string, p *field.Path) field.ErrorList {
	if slices.Contains(strings.Split(value, "/"), "..") {
		return field.ErrorList{field.Invalid(p, value, "must not contain '..'")}
	}
	return nil
}

// fileInVolume is a descending path that does not hide among the volume's own links, which start so.
func fileInVolume(value string, p *field.Path) field.ErrorList {
	errs := descendingPath(value, p)
	if strings.HasPrefix(value, "..") && !strings.HasPrefix(value, "../") {
		errs = append(errs, field.Invalid(p, value, "must not start with '..'"))
	}
	return errs
}

func isIPv6(s string) bool { return strings.Contains(s, ":") }
