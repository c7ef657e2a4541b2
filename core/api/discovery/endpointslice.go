// Package discovery declares the kind of the group discovery.k8s.io/v1: what the server, the printer and
// the store know of EndpointSlice.
package discovery

import (
	"fmt"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/gantryio/gantry/core/api"
)

// maxPrinted is how many addresses or ports a column shows before "+ N more...".
const maxPrinted = 3

// EndpointSlices is all that the server, the printer and the docs know of EndpointSlice.
var EndpointSlices = api.Kind[discoveryv1.EndpointSlice]{
	Group: "discovery.k8s.io", Version: "v1", Name: "EndpointSlice", Plural: "endpointslices", Namespaced: true,
	Generation: true,
	Default:    defaultEndpointSlice,
	Validate:   validateEndpointSlice,
	Columns: []api.Column[discoveryv1.EndpointSlice]{
		api.NameColumn[discoveryv1.EndpointSlice](),
		{Name: "AddressType", Description: "IPv4, IPv6 or FQDN.", Cell: func(s *discoveryv1.EndpointSlice) any { return string(s.AddressType) }},
		{Name: "Ports", Description: "The ports of every endpoint.", Cell: func(s *discoveryv1.EndpointSlice) any { return printPorts(s.Ports) }},
		{Name: "Endpoints", Description: "The addresses.", Cell: func(s *discoveryv1.EndpointSlice) any { return printAddresses(s.Endpoints) }},
		api.AgeColumn[discoveryv1.EndpointSlice](),
	},
}

func defaultEndpointSlice(s *discoveryv1.EndpointSlice) {
	api.DropEmpty(&s.Endpoints)
	api.DropEmpty(&s.Ports)
	for i := range s.Ports {
		if s.Ports[i].Name == nil {
			s.Ports[i].Name = new("")
		}
		if s.Ports[i].Protocol == nil {
			s.Ports[i].Protocol = new(corev1.ProtocolTCP)
		}
	}
}

func printPorts(ports []discoveryv1.EndpointPort) string {
	out := make([]string, len(ports))
	for i, p := range ports {
		switch {
		case p.Port != nil:
			out[i] = strconv.Itoa(int(*p.Port))
		case p.Name != nil && *p.Name != "":
			out[i] = *p.Name
		default:
			out[i] = "*"
		}
	}
	return shorten(out)
}

func printAddresses(endpoints []discoveryv1.Endpoint) string {
	var out []string
	for _, e := range endpoints {
		out = append(out, e.Addresses...)
	}
	return shorten(out)
}

func shorten(all []string) string {
	switch {
	case len(all) == 0:
		return "<unset>"
	case len(all) > maxPrinted:
		return fmt.Sprintf("%s + %d more...", strings.Join(all[:maxPrinted], ","), len(all)-maxPrinted)
	}
	return strings.Join(all, ",")
}
