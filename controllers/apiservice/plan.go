package apiservice

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"

	"github.com/gantryio/gantry/core/api/apiregistration"
)

// verdict is what can be told of an aggregated API server without asking it. The reasons are those of Kubernetes.
type verdict struct {
	status          apiregistrationv1.ConditionStatus
	reason, message string
}

var passed = verdict{apiregistrationv1.ConditionTrue, "Passed", "all checks passed"}

// judge looks at the Service that an APIService refers to, nil when there is none. When nothing is wrong there, the answer is
// passed, and the server itself has to be asked.
func judge(s *apiregistrationv1.APIService, svc *corev1.Service, endpoints []discoveryv1.EndpointSlice) verdict {
	ref := s.Spec.Service
	no := func(reason, format string, args ...any) verdict {
		return verdict{apiregistrationv1.ConditionFalse, reason, fmt.Sprintf(format, args...)}
	}
	if svc == nil {
		return no("ServiceNotFound", "service/%s in %q is not present", ref.Name, ref.Namespace)
	}
	if svc.Spec.Type != corev1.ServiceTypeClusterIP {
		return passed // whatever it leads to
	}
	i := slices.IndexFunc(svc.Spec.Ports, func(p corev1.ServicePort) bool { return p.Port == *ref.Port })
	if i < 0 {
		return no("ServicePortError", "service/%s in %q is not listening on port %d", ref.Name, ref.Namespace, *ref.Port)
	}
	if len(endpoints) == 0 {
		return no("EndpointsNotFound", "cannot find endpointslices for service/%s in %q", ref.Name, ref.Namespace)
	}
	port := svc.Spec.Ports[i].Name
	if !slices.ContainsFunc(endpoints, func(e discoveryv1.EndpointSlice) bool { return leadsTo(&e, port) }) {
		return no("MissingEndpoints", "endpointslices for service/%s in %q have no addresses with port name %q", ref.Name, ref.Namespace, port)
	}
	return passed
}

// leadsTo tells that a slice has the port and an address that is ready.
func leadsTo(e *discoveryv1.EndpointSlice, port string) bool {
	return slices.ContainsFunc(e.Endpoints, func(one discoveryv1.Endpoint) bool {
		return one.Conditions.Ready == nil || *one.Conditions.Ready
	}) && slices.ContainsFunc(e.Ports, func(p discoveryv1.EndpointPort) bool {
		return p.Port != nil && (p.Name != nil && *p.Name == port || p.Name == nil && port == "")
	})
}

// change is what is done about the APIService of a name.
type change int

const (
	leave change = iota
	create
	update
	remove
)

// register compares the APIService that the server wants of itself, nil for none, with the one that is there. Those that are
// managed on start are the administrator's once the server has looked at them; what is not marked as managed always is.
func register(want, have *apiregistrationv1.APIService, looked bool) change {
	managed := func(s *apiregistrationv1.APIService) string {
		if s == nil {
			return ""
		}
		return s.Labels[apiregistration.ManagedLabel]
	}
	switch {
	case want == nil && have == nil:
		return leave
	case managed(want) == apiregistration.ManagedOnStart && looked:
		return leave
	case have == nil:
		return create
	case managed(have) == "", managed(have) == apiregistration.ManagedOnStart && looked:
		return leave
	case want == nil:
		return remove
	case specsEqual(&want.Spec, &have.Spec):
		return leave
	}
	return update
}
