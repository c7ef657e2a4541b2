package apiserver

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// ResolveEndpoint finds where a service is reached from this process, which need not have a service proxy: at any of its ready
// endpoints. It is what clients of webhooks ask for each connection.
func (s *Server) ResolveEndpoint(namespace, name string, port int32) (*url.URL, error) {
	svc := cached[corev1.Service](s, "services", namespace, name)
	if svc == nil {
		return nil, apierrors.NewNotFound(corev1.Resource("services"), name)
	}
	host, err := endpointOf(svc, s.slicesOf(svc), port)
	if err != nil {
		return nil, err
	}
	return &url.URL{Scheme: "https", Host: host}, nil
}

// endpointOf picks any ready endpoint behind a port of a service.
func endpointOf(svc *corev1.Service, slices []*discoveryv1.EndpointSlice, port int32) (string, error) {
	if svc.Spec.Type == corev1.ServiceTypeExternalName {
		return net.JoinHostPort(svc.Spec.ExternalName, strconv.Itoa(int(port))), nil
	}
	var of *corev1.ServicePort
	for i := range svc.Spec.Ports {
		if p := &svc.Spec.Ports[i]; p.Port == port && (p.Protocol == corev1.ProtocolTCP || p.Protocol == "") {
			of = p
		}
	}
	if of == nil {
		return "", apierrors.NewServiceUnavailable(fmt.Sprintf("no service port %d found for service %q", port, svc.Name))
	}
	var hosts []string
	for _, slice := range slices {
		for _, p := range slice.Ports {
			if p.Port == nil || p.Name == nil && of.Name != "" || p.Name != nil && *p.Name != of.Name {
				continue
			}
			for _, e := range slice.Endpoints {
				if ready := e.Conditions.Ready; (ready == nil || *ready) && len(e.Addresses) > 0 {
					hosts = append(hosts, net.JoinHostPort(e.Addresses[0], strconv.Itoa(int(*p.Port))))
				}
			}
		}
	}
	if len(hosts) == 0 {
		return "", apierrors.NewServiceUnavailable(fmt.Sprintf("no endpoints available for service %q", svc.Name))
	}
	return hosts[rand.IntN(len(hosts))], nil
}
