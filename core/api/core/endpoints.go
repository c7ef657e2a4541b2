package core

import (
	"fmt"
	"net"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/gantryio/gantry/core/api"
)

// maxPrinted is how many addresses or ports a column shows before "+ N more...".
const maxPrinted = 3

// Endpoints is all that the server, the printer and the docs know of Endpoints.
var Endpoints = api.Kind[corev1.Endpoints]{
	Version: "v1", Name: "Endpoints", Plural: "endpoints", Singular: "endpoints", Short: []string{"ep"}, Namespaced: true,
	StoragePrefix: "services/endpoints", CreateOnUpdate: true,
	Default:    defaultEndpoints,
	Validate:   validateEndpoints,
	Deprecated: "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
	Columns: []api.Column[corev1.Endpoints]{
		api.NameColumn[corev1.Endpoints](),
		{Name: "Endpoints", Description: "The ready addresses with their ports.", Cell: func(e *corev1.Endpoints) any { return printEndpoints(e) }},
		api.AgeColumn[corev1.Endpoints](),
	},
}

func defaultEndpoints(e *corev1.Endpoints) {
	for i := range e.Subsets {
		for j := range e.Subsets[i].Ports {
			setDefault(&e.Subsets[i].Ports[j].Protocol, corev1.ProtocolTCP)
		}
	}
}

func printEndpoints(e *corev1.Endpoints) string {
	if len(e.Subsets) == 0 {
		return none
	}
	var all []string
	for _, subset := range e.Subsets {
		for _, a := range subset.Addresses {
			if len(subset.Ports) == 0 {
				all = append(all, a.IP)
			}
		}
		for _, port := range subset.Ports {
			for _, a := range subset.Addresses {
				all = append(all, net.JoinHostPort(a.IP, strconv.Itoa(int(port.Port))))
			}
		}
	}
	if len(all) > maxPrinted {
		return fmt.Sprintf("%s + %d more...", strings.Join(all[:maxPrinted], ","), len(all)-maxPrinted)
	}
	return strings.Join(all, ",")
}
