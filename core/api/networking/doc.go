// Package networking declares the kinds of the group networking.k8s.io/v1: what the server, the printer and the store know of
// Ingress, IngressClass, NetworkPolicy, IPAddress and ServiceCIDR.
package networking

import (
	"k8s.io/apimachinery/pkg/api/validation/path"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func invalid(p *field.Path, value any, msgs []string) field.ErrorList {
	var errs field.ErrorList
	for _, msg := range msgs {
		errs = append(errs, field.Invalid(p, value, msg))
	}
	return errs
}

// requiredSegment is for names that stand in URLs.
func requiredSegment(value string, p *field.Path, missing string) field.ErrorList {
	if value == "" {
		return field.ErrorList{field.Required(p, missing)}
	}
	return invalid(p, value, path.IsValidPathSegmentName(value))
}
