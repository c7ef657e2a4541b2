package core

import (
	corev1 "k8s.io/api/core/v1"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api"
)

func validateEndpoints(e, _ *corev1.Endpoints) field.ErrorList {
	var errs field.ErrorList
	for i := range e.Subsets {
		s, at := &e.Subsets[i], field.NewPath("subsets").Index(i)
		if len(s.Addresses) == 0 && len(s.NotReadyAddresses) == 0 {
			errs = append(errs, field.Required(at, "must specify `addresses` or `notReadyAddresses`"))
		}
		errs = append(errs, validateEndpointAddresses(s.Addresses, at.Child("addresses"))...)
		errs = append(errs, validateEndpointAddresses(s.NotReadyAddresses, at.Child("notReadyAddresses"))...)
		for j := range s.Ports {
			errs = append(errs, validateEndpointPort(&s.Ports[j], len(s.Ports) > 1, at.Child("ports").Index(j))...)
		}
	}
	return errs
}

func validateEndpointAddresses(list []corev1.EndpointAddress, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, a := range list {
		at := p.Index(i)
		wrong := utilvalidation.IsValidIPForLegacyField(at.Child("ip"), a.IP, true, nil)
		if len(wrong) == 0 {
			wrong = ValidateEndpointIP(a.IP, at.Child("ip"))
		}
		errs = append(errs, wrong...)
		if a.Hostname != "" {
			errs = append(errs, api.DNSLabel(a.Hostname, at.Child("hostname"))...)
		}
		if a.NodeName != nil {
			errs = append(errs, api.DNSSubdomain(*a.NodeName, at.Child("nodeName"))...)
		}
	}
	return errs
}

// ValidateEndpointIP refuses addresses through which the node itself could be reached.
func ValidateEndpointIP(ip string, p *field.Path) field.ErrorList { return notSpecial(ip, p) }

func validateEndpointPort(port *corev1.EndpointPort, named bool, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	switch {
	case port.Name == "" && named:
		errs = append(errs, field.Required(p.Child("name"), ""))
	case port.Name != "":
		errs = append(errs, api.DNSLabel(port.Name, p.Child("name"))...)
	}
	errs = append(errs, api.Invalid(p.Child("port"), port.Port, utilvalidation.IsValidPortNum(int(port.Port)))...)
	errs = append(errs, oneOf(port.Protocol, p.Child("protocol"), corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP)...)
	if port.AppProtocol != nil {
		errs = append(errs, qualifiedName(*port.AppProtocol, p.Child("appProtocol"))...)
	}
	return errs
}
