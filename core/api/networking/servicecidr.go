package networking

import (
	"net/netip"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/validation"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api"
)

// ServiceCIDRs is all that the server, the printer and the docs know of ServiceCIDR.
var ServiceCIDRs = api.Kind[networkingv1.ServiceCIDR]{
	Group: "networking.k8s.io", Version: "v1", Name: "ServiceCIDR", Plural: "servicecidrs",
	Earlier:      []string{"networking.k8s.io/v1beta1"},
	Subresources: api.Status,
	Validate:     validateServiceCIDR,
	Columns: []api.Column[networkingv1.ServiceCIDR]{
		api.NameColumn[networkingv1.ServiceCIDR](),
		{Name: "CIDRs", Description: "The ranges of cluster IPs.", Cell: func(c *networkingv1.ServiceCIDR) any { return strings.Join(c.Spec.CIDRs, ",") }},
		api.AgeColumn[networkingv1.ServiceCIDR](),
	},
}

func validateServiceCIDR(c, old *networkingv1.ServiceCIDR) field.ErrorList {
	p, list := field.NewPath("spec", "cidrs"), c.Spec.CIDRs
	if old != nil {
		return keepsCIDRs(list, old.Spec.CIDRs, p)
	}
	switch {
	case len(list) == 0:
		return field.ErrorList{field.Required(p, "at least one CIDR required")}
	case len(list) > 2:
		return field.ErrorList{field.Invalid(p, c.Spec, "may only hold up to 2 values")}
	case len(list) == 2 && !dual(list):
		return field.ErrorList{field.Invalid(p, c.Spec, "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64")}
	}
	var errs field.ErrorList
	for i, cidr := range list {
		errs = append(errs, utilvalidation.IsValidCIDR(p.Index(i), cidr)...)
	}
	return errs
}

// keepsCIDRs lets a second range be added, and nothing else be changed.
func keepsCIDRs(now, was []string, p *field.Path) field.ErrorList {
	if len(now) != len(was) && (len(was) != 1 || len(now) != 2) {
		return field.ErrorList{field.Invalid(p, now, validation.FieldImmutableErrorMsg)}
	}
	var errs field.ErrorList
	for i := range was {
		if now[i] != was[i] {
			errs = append(errs, field.Invalid(p.Index(i), now[i], validation.FieldImmutableErrorMsg))
		}
	}
	if len(now) > len(was) {
		if errs = append(errs, utilvalidation.IsValidCIDR(p.Index(1), now[1])...); len(errs) == 0 && !dual(now) {
			errs = append(errs, field.Invalid(p, now, "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64"))
		}
	}
	return errs
}

func dual(list []string) bool {
	a, errA := netip.ParsePrefix(list[0])
	b, errB := netip.ParsePrefix(list[1])
	return errA == nil && errB == nil && a.Addr().Is4() != b.Addr().Is4()
}
