package core

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api"
)

// The limits of resolv.conf(5) as Kubernetes has them.
const (
	maxNameservers = 3
	maxSearches    = 32
	maxSearchChars = 2048
)

func validateDNS(spec *corev1.PodSpec, p *field.Path) field.ErrorList {
	errs := oneOf(spec.DNSPolicy, p.Child("dnsPolicy"), corev1.DNSClusterFirst, corev1.DNSClusterFirstWithHostNet, corev1.DNSDefault, corev1.DNSNone)
	c, at := spec.DNSConfig, p.Child("dnsConfig")
	if spec.DNSPolicy == corev1.DNSNone {
		if c == nil {
			return append(errs, field.Required(at, fmt.Sprintf("must provide `dnsConfig` when `dnsPolicy` is %s", corev1.DNSNone)))
		}
		if len(c.Nameservers) == 0 {
			return append(errs, field.Required(at.Child("nameservers"), fmt.Sprintf("must provide at least one DNS nameserver when `dnsPolicy` is %s", corev1.DNSNone)))
		}
	}
	if c == nil {
		return errs
	}
	if len(c.Nameservers) > maxNameservers {
		errs = append(errs, field.Invalid(at.Child("nameservers"), c.Nameservers, fmt.Sprintf("must not have more than %v nameservers", maxNameservers)))
	}
	for i, ns := range c.Nameservers {
		errs = append(errs, utilvalidation.IsValidIPForLegacyField(at.Child("nameservers").Index(i), ns, true, nil)...)
	}
	errs = append(errs, validateSearches(c.Searches, at.Child("searches"))...)
	for i, o := range c.Options {
		if o.Name == "" {
			errs = append(errs, field.Required(at.Child("options").Index(i), "must not be empty"))
		}
	}
	return errs
}

// validateSearches takes underscores and the lone dot, which search lists use though host names do not.
func validateSearches(list []string, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	if len(list) > maxSearches {
		errs = append(errs, field.Invalid(p, list, fmt.Sprintf("must not have more than %v search paths", maxSearches)))
	}
	if len(strings.Join(list, " ")) > maxSearchChars {
		errs = append(errs, field.Invalid(p, list, fmt.Sprintf("must not have more than %v characters (including spaces) in the search list", maxSearchChars)))
	}
	for i, s := range list {
		if s != "." {
			errs = append(errs, api.Invalid(p.Index(i), s, utilvalidation.IsDNS1123SubdomainWithUnderscore(strings.TrimSuffix(s, ".")))...)
		}
	}
	return errs
}

func validateHostNames(spec *corev1.PodSpec, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	if spec.Hostname != "" {
		errs = append(errs, api.DNSLabel(spec.Hostname, p.Child("hostname"))...)
	}
	if spec.Subdomain != "" {
		errs = append(errs, api.DNSLabel(spec.Subdomain, p.Child("subdomain"))...)
	}
	for i, a := range spec.HostAliases {
		at := p.Child("hostAliases").Index(i)
		errs = append(errs, utilvalidation.IsValidIPForLegacyField(at.Child("ip"), a.IP, true, nil)...)
		for j, name := range a.Hostnames {
			errs = append(errs, api.DNSSubdomain(name, at.Child("hostnames").Index(j))...)
		}
	}
	return append(errs, validateHostnameOverride(spec, p.Child("hostnameOverride"))...)
}

func validateHostnameOverride(spec *corev1.PodSpec, p *field.Path) field.ErrorList {
	if spec.HostnameOverride == nil {
		return nil
	}
	name := *spec.HostnameOverride
	errs := api.DNSSubdomain(name, p)
	if len(name) > 64 {
		errs = append(errs, field.TooLong(p, name, 64))
	}
	if isTrue(spec.SetHostnameAsFQDN) {
		errs = append(errs, field.Forbidden(p, "may not be specified when `setHostnameAsFQDN` is true"))
	}
	if spec.HostNetwork {
		errs = append(errs, field.Forbidden(p, "may not be specified when `hostNetwork` is true"))
	}
	return errs
}
