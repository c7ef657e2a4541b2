package networking

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api"
)

const isAddress = "must be a DNS name, not an IP address"

// What paths of the types Exact and Prefix must not have in them or at their end.
var (
	badPathParts = []string{"//", "/./", "/../", "%2f", "%2F"}
	badPathEnds  = []string{"/..", "/."}
	pathTypes    = []networkingv1.PathType{networkingv1.PathTypeExact, networkingv1.PathTypeImplementationSpecific, networkingv1.PathTypePrefix}
)

func validateIngressSpec(s *networkingv1.IngressSpec, old *networkingv1.Ingress, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	if len(s.Rules) == 0 && s.DefaultBackend == nil {
		errs = append(errs, field.Invalid(p, s.Rules, "either `defaultBackend` or `rules` must be specified"))
	}
	if s.DefaultBackend != nil {
		errs = append(errs, validateBackend(s.DefaultBackend, p.Child("defaultBackend"))...)
	}
	for i := range s.Rules {
		errs = append(errs, validateRule(&s.Rules[i], old, p.Child("rules").Index(i))...)
	}
	for i := range s.TLS {
		at := p.Child("tls").Index(i)
		for j, host := range s.TLS[i].Hosts {
			errs = append(errs, validateHost(host, at.Child("hosts").Index(j))...)
		}
		if name := s.TLS[i].SecretName; name != "" && !hadBadSecret(old) {
			errs = append(errs, api.Invalid(at.Child("secretName"), name, utilvalidation.IsDNS1123Subdomain(name))...)
		}
	}
	if c := s.IngressClassName; c != nil {
		errs = append(errs, api.Invalid(p.Child("ingressClassName"), *c, utilvalidation.IsDNS1123Subdomain(*c))...)
	}
	return errs
}

// hadBadSecret and hadBadWildcard let objects be changed that are older than the rules.
func hadBadSecret(old *networkingv1.Ingress) bool {
	return old != nil && slices.ContainsFunc(old.Spec.TLS, func(t networkingv1.IngressTLS) bool {
		return t.SecretName != "" && len(utilvalidation.IsDNS1123Subdomain(t.SecretName)) > 0
	})
}

func hadBadWildcard(old *networkingv1.Ingress) bool {
	return old != nil && slices.ContainsFunc(old.Spec.Rules, func(r networkingv1.IngressRule) bool {
		return strings.Contains(r.Host, "*") && len(validatePaths(r.HTTP, nil)) > 0
	})
}

func validateHost(host string, p *field.Path) field.ErrorList {
	if strings.Contains(host, "*") {
		return api.Invalid(p, host, utilvalidation.IsWildcardDNS1123Subdomain(host))
	}
	return api.DNSSubdomain(host, p)
}

func validateRule(r *networkingv1.IngressRule, old *networkingv1.Ingress, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	if r.Host != "" {
		if _, err := netip.ParseAddr(r.Host); err == nil {
			errs = append(errs, field.Invalid(p.Child("host"), r.Host, isAddress))
		}
		errs = append(errs, validateHost(r.Host, p.Child("host"))...)
	}
	if strings.Contains(r.Host, "*") && hadBadWildcard(old) {
		return errs
	}
	return append(errs, validatePaths(r.HTTP, p.Child("http"))...)
}

func validatePaths(http *networkingv1.HTTPIngressRuleValue, p *field.Path) field.ErrorList {
	if http == nil {
		return nil
	}
	var errs field.ErrorList
	if len(http.Paths) == 0 {
		errs = append(errs, field.Required(p.Child("paths"), ""))
	}
	for i := range http.Paths {
		errs = append(errs, validatePath(&http.Paths[i], p.Child("paths").Index(i))...)
	}
	return errs
}

func validatePath(v *networkingv1.HTTPIngressPath, p *field.Path) field.ErrorList {
	if v.PathType == nil {
		return field.ErrorList{field.Required(p.Child("pathType"), "pathType must be specified")}
	}
	var errs field.ErrorList
	relative := !strings.HasPrefix(v.Path, "/")
	switch *v.PathType {
	case networkingv1.PathTypeExact, networkingv1.PathTypePrefix:
		if relative {
			errs = append(errs, field.Invalid(p.Child("path"), v.Path, "must be an absolute path"))
		}
		for _, part := range badPathParts {
			if strings.Contains(v.Path, part) {
				errs = append(errs, field.Invalid(p.Child("path"), v.Path, fmt.Sprintf("must not contain '%s'", part)))
			}
		}
		for _, end := range badPathEnds {
			if strings.HasSuffix(v.Path, end) {
				errs = append(errs, field.Invalid(p.Child("path"), v.Path, fmt.Sprintf("cannot end with '%s'", end)))
			}
		}
	case networkingv1.PathTypeImplementationSpecific:
		if v.Path != "" && relative {
			errs = append(errs, field.Invalid(p.Child("path"), v.Path, "must be an absolute path"))
		}
	default:
		errs = append(errs, field.NotSupported(p.Child("pathType"), *v.PathType, pathTypes))
	}
	return append(errs, validateBackend(&v.Backend, p.Child("backend"))...)
}

func validateBackend(b *networkingv1.IngressBackend, p *field.Path) field.ErrorList {
	switch {
	case b.Resource != nil && b.Service != nil:
		return field.ErrorList{field.Invalid(p, "", "cannot set both resource and service backends")}
	case b.Resource != nil:
		return validateReference(b.Resource, p.Child("resource"))
	case b.Service == nil:
		return field.ErrorList{field.Invalid(p, "", "resource or service backend is required")}
	}
	var errs field.ErrorList
	at := p.Child("service")
	if b.Service.Name == "" {
		errs = append(errs, field.Required(at.Child("name"), ""))
	} else {
		errs = append(errs, api.Invalid(at.Child("name"), b.Service.Name, utilvalidation.IsDNS1123Label(b.Service.Name))...)
	}
	switch name, number := b.Service.Port.Name, b.Service.Port.Number; {
	case name != "" && number != 0:
		errs = append(errs, field.Invalid(p, "", "cannot set both port name & port number"))
	case name != "":
		errs = append(errs, api.Invalid(at.Child("port", "name"), name, utilvalidation.IsValidPortName(name))...)
	case number != 0:
		errs = append(errs, api.Invalid(at.Child("port", "number"), number, utilvalidation.IsValidPortNum(int(number)))...)
	default:
		errs = append(errs, field.Required(p, "port name or number is required"))
	}
	return errs
}

func validateReference(r *corev1.TypedLocalObjectReference, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	if r.APIGroup != nil {
		errs = append(errs, api.Invalid(p.Child("apiGroup"), *r.APIGroup, utilvalidation.IsDNS1123Subdomain(*r.APIGroup))...)
	}
	errs = append(errs, requiredSegment(r.Kind, p.Child("kind"), "kind is required")...)
	return append(errs, requiredSegment(r.Name, p.Child("name"), "name is required")...)
}

func validateIngressStatus(i, _ *networkingv1.Ingress) field.ErrorList {
	var errs field.ErrorList
	for k, a := range i.Status.LoadBalancer.Ingress {
		p := field.NewPath("status", "loadBalancer", "ingress").Index(k)
		if a.IP != "" {
			errs = append(errs, utilvalidation.IsValidIPForLegacyField(p.Child("ip"), a.IP, true, nil)...)
		}
		if a.Hostname != "" {
			errs = append(errs, api.Invalid(p.Child("hostname"), a.Hostname, utilvalidation.IsDNS1123Subdomain(a.Hostname))...)
			if _, err := netip.ParseAddr(a.Hostname); err == nil {
				errs = append(errs, field.Invalid(p.Child("hostname"), a.Hostname, isAddress))
			}
		}
	}
	return errs
}
