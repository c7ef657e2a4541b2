package api

import (
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Invalid makes an error of each message about a value, as the checks of k8s.io/apimachinery return them.
func Invalid(p *field.Path, value any, msgs []string) field.ErrorList {
	var errs field.ErrorList
	for _, msg := range msgs {
		errs = append(errs, field.Invalid(p, value, msg))
	}
	return errs
}

// DNSLabel refuses what is no label of RFC 1123.
func DNSLabel(value string, p *field.Path) field.ErrorList {
	return Invalid(p, value, validation.IsDNS1123Label(value))
}

// DNSSubdomain refuses what is no subdomain of RFC 1123: labels with dots between them.
func DNSSubdomain(value string, p *field.Path) field.ErrorList {
	return Invalid(p, value, validation.IsDNS1123Subdomain(value))
}
