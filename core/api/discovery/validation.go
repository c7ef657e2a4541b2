package discovery

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/validation"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/sets"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/api/core"
)

const (
	maxEndpoints = 1000
	maxPorts     = 20000
	maxAddresses = 100
	maxTopology  = 16
	maxHints     = 8
)

func validateEndpointSlice(s, old *discoveryv1.EndpointSlice) field.ErrorList {
	errs := validateAddressType(s.AddressType, field.NewPath("addressType"))
	errs = append(errs, validateEndpoints(s, field.NewPath("endpoints"))...)
	errs = append(errs, validatePorts(s.Ports, field.NewPath("ports"))...)
	if old != nil {
		errs = append(errs, validation.ValidateImmutableField(s.AddressType, old.AddressType, field.NewPath("addressType"))...)
	}
	return errs
}

func validateAddressType(t discoveryv1.AddressType, p *field.Path) field.ErrorList {
	switch t {
	case discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv6, discoveryv1.AddressTypeFQDN:
		return nil
	case "":
		return field.ErrorList{field.Required(p, "")}
	}
	return field.ErrorList{field.NotSupported(p, t,
		[]discoveryv1.AddressType{discoveryv1.AddressTypeFQDN, discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv6})}
}

func validateEndpoints(s *discoveryv1.EndpointSlice, p *field.Path) field.ErrorList {
	if len(s.Endpoints) > maxEndpoints {
		return field.ErrorList{field.TooMany(p, len(s.Endpoints), maxEndpoints)}
	}
	var errs field.ErrorList
	for i := range s.Endpoints {
		e, at := &s.Endpoints[i], p.Index(i)
		addresses := at.Child("addresses")
		switch n := len(e.Addresses); {
		case n == 0:
			errs = append(errs, field.Required(addresses, "must contain at least 1 address"))
		case n > maxAddresses:
			errs = append(errs, field.TooMany(addresses, n, maxAddresses))
		}
		for j, a := range e.Addresses {
			errs = append(errs, validateAddress(s.AddressType, a, addresses.Index(j))...)
		}
		errs = append(errs, validatePlace(e, at)...)
	}
	return errs
}

func validateAddress(t discoveryv1.AddressType, address string, p *field.Path) field.ErrorList {
	if t == discoveryv1.AddressTypeFQDN {
		return utilvalidation.IsFullyQualifiedDomainName(p, address)
	}
	if t != discoveryv1.AddressTypeIPv4 && t != discoveryv1.AddressTypeIPv6 {
		return nil
	}
	errs := utilvalidation.IsValidIPForLegacyField(p, address, true, nil)
	if len(errs) > 0 {
		return errs
	}
	if family(address) != t {
		errs = append(errs, field.Invalid(p, address, fmt.Sprintf("must be an %s address", t)))
	}
	return append(errs, core.ValidateEndpointIP(address, p)...)
}

func family(address string) discoveryv1.AddressType {
	for _, c := range address {
		if c == ':' {
			return discoveryv1.AddressTypeIPv6
		}
	}
	return discoveryv1.AddressTypeIPv4
}

func validatePlace(e *discoveryv1.Endpoint, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	if e.NodeName != nil {
		for _, msg := range api.ValidateSubdomain(*e.NodeName, false) {
			errs = append(errs, field.Invalid(p.Child("nodeName"), *e.NodeName, msg))
		}
	}
	topology := p.Child("deprecatedTopology")
	if len(e.DeprecatedTopology) > maxTopology {
		errs = append(errs, field.TooMany(topology, len(e.DeprecatedTopology), maxTopology))
	}
	errs = append(errs, metavalidation.ValidateLabels(e.DeprecatedTopology, topology)...)
	if _, ok := e.DeprecatedTopology[corev1.LabelTopologyZone]; ok {
		errs = append(errs, field.InternalError(topology.Key(corev1.LabelTopologyZone), fmt.Errorf("reserved key was not removed in conversion")))
	}
	if e.Hostname != nil {
		for _, msg := range utilvalidation.IsDNS1123Label(*e.Hostname) {
			errs = append(errs, field.Invalid(p.Child("hostname"), *e.Hostname, msg))
		}
	}
	if e.Hints != nil {
		errs = append(errs, validateHints(e.Hints, p.Child("hints"))...)
	}
	return errs
}

func validateHints(h *discoveryv1.EndpointHints, p *field.Path) field.ErrorList {
	var zones, nodes []string
	for _, z := range h.ForZones {
		zones = append(zones, z.Name)
	}
	for _, n := range h.ForNodes {
		nodes = append(nodes, n.Name)
	}
	errs := validateHintNames(zones, p.Child("forZones"), utilvalidation.IsValidLabelValue)
	return append(errs, validateHintNames(nodes, p.Child("forNodes"), utilvalidation.IsDNS1123Subdomain)...)
}

func validateHintNames(names []string, p *field.Path, check func(string) []string) field.ErrorList {
	if len(names) > maxHints {
		return field.ErrorList{field.TooMany(p, len(names), maxHints)}
	}
	var errs field.ErrorList
	seen := sets.New[string]()
	for i, name := range names {
		at := p.Index(i).Child("name")
		if seen.Has(name) {
			errs = append(errs, field.Duplicate(at, name))
		}
		seen.Insert(name)
		for _, msg := range check(name) {
			errs = append(errs, field.Invalid(at, name, msg))
		}
	}
	return errs
}

func validatePorts(ports []discoveryv1.EndpointPort, p *field.Path) field.ErrorList {
	if len(ports) > maxPorts {
		return field.ErrorList{field.TooMany(p, len(ports), maxPorts)}
	}
	var errs field.ErrorList
	seen := sets.New[string]()
	for i, port := range ports {
		at := p.Index(i)
		if name := port.Name; name != nil {
			if *name != "" {
				for _, msg := range utilvalidation.IsDNS1123Label(*name) {
					errs = append(errs, field.Invalid(at.Child("name"), *name, msg))
				}
			}
			if seen.Has(*name) {
				errs = append(errs, field.Duplicate(at.Child("name"), *name))
			}
			seen.Insert(*name)
		}
		errs = append(errs, validatePort(&port, at)...)
	}
	return errs
}

func validatePort(port *discoveryv1.EndpointPort, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	protocols := []corev1.Protocol{corev1.ProtocolSCTP, corev1.ProtocolTCP, corev1.ProtocolUDP}
	switch {
	case port.Protocol == nil:
		errs = append(errs, field.Required(p.Child("protocol"), ""))
	case !sets.New(protocols...).Has(*port.Protocol):
		errs = append(errs, field.NotSupported(p.Child("protocol"), *port.Protocol, protocols))
	}
	if port.Port != nil {
		for _, msg := range utilvalidation.IsValidPortNum(int(*port.Port)) {
			errs = append(errs, field.Invalid(p.Child("port"), *port.Port, msg))
		}
	}
	if port.AppProtocol != nil {
		for _, msg := range utilvalidation.IsQualifiedName(*port.AppProtocol) {
			errs = append(errs, field.Invalid(p.Child("appProtocol"), *port.AppProtocol, msg))
		}
	}
	return errs
}
