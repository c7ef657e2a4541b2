// Package networking declares the kinds of the group networking.k8s.io/v1: what the server, the printer and the store know of
// Ingress, IngressClass, NetworkPolicy, IPAddress and ServiceCIDR.
package networking

import (
	"k8s.io/apimachinery/pkg/api/validation/path"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api"
)

// requiredSegment is for names that stand in URLs.
func requiredSegment(value string, p *field.Path, missing string) field.ErrorList {
	if value == "" {
		return field.ErrorList{field.Required(p, missing)}
	}
	return api.Invalid(p, value, path.IsValidPathSegmentName(value))
}
