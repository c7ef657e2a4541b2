package networking

import (
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api"
)

// IPAddresses is all that the server, the printer and the docs know of IPAddress.
var IPAddresses = api.Kind[networkingv1.IPAddress]{
	Group: "networking.k8s.io", Version: "v1", Name: "IPAddress", Plural: "ipaddresses", Short: []string{"ip"},
	Earlier:      []string{"networking.k8s.io/v1beta1"},
	ValidateName: validateAddressName,
	Validate:     validateIPAddress,
	Columns: []api.Column[networkingv1.IPAddress]{
		api.NameColumn[networkingv1.IPAddress](),
		{Name: "ParentRef", Description: "The object that has the address.", Cell: func(a *networkingv1.IPAddress) any { return parent(a) }},
	},
}

func parent(a *networkingv1.IPAddress) string {
	r := a.Spec.ParentRef
	if r == nil {
		return none
	}
	parts := []string{strings.ToLower(schema.GroupResource{Group: r.Group, Resource: r.Resource}.String())}
	if r.Namespace != "" {
		parts = append(parts, r.Namespace)
	}
	return strings.Join(append(parts, r.Name), "/")
}

// validateAddressName wants the address in its one canonical form.
func validateAddressName(name string, _ bool) []string {
	var out []string
	for _, err := range utilvalidation.IsValidIP(nil, name) {
		out = append(out, err.Detail)
	}
	return out
}

func validateIPAddress(a, old *networkingv1.IPAddress) field.ErrorList {
	p, r := field.NewPath("spec", "parentRef"), a.Spec.ParentRef
	if old != nil {
		return validation.ValidateImmutableField(r, old.Spec.ParentRef, p)
	}
	if r == nil {
		return field.ErrorList{field.Required(p, "")}
	}
	var errs field.ErrorList
	if r.Group != "" {
		errs = append(errs, api.Invalid(p.Child("group"), r.Group, utilvalidation.IsDNS1123Subdomain(r.Group))...)
	}
	errs = append(errs, requiredSegment(r.Resource, p.Child("resource"), "")...)
	errs = append(errs, requiredSegment(r.Name, p.Child("name"), "")...)
	if r.Namespace != "" {
		errs = append(errs, requiredSegment(r.Namespace, p.Child("namespace"), "")...)
	}
	return errs
}
