package core

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/gantryio/gantry/core/api"
)

// Services is all that the server, the printer and the docs know of Service.
var Services = api.Kind[corev1.Service]{
	Version: "v1", Name: "Service", Plural: "services", Short: []string{"svc"}, Categories: []string{"all"}, Namespaced: true,
	StoragePrefix: "services/specs", Subresources: api.Status, StatusMetadata: true, CreateOnUpdate: true,
	Default:        defaultService,
	Prepare:        prepareService,
	ValidateName:   validation.NameIsDNSLabel,
	Validate:       validateService,
	ValidateStatus: validateServiceStatus,
	Columns: []api.Column[corev1.Service]{
		api.NameColumn[corev1.Service](),
		{Name: "Type", Description: "How the service is exposed.", Cell: func(s *corev1.Service) any { return string(s.Spec.Type) }},
		{Name: "Cluster-IP", Description: "The virtual address inside the cluster.", Cell: func(s *corev1.Service) any { return clusterIP(s) }},
		{Name: "External-IP", Description: "The addresses outside the cluster.", Cell: func(s *corev1.Service) any { return externalIP(s) }},
		{Name: "Port(s)", Description: "Ports, node ports and protocols.", Cell: func(s *corev1.Service) any { return servicePorts(s) }},
		api.AgeColumn[corev1.Service](),
		{Name: "Selector", Priority: 1, Description: "The labels of the pods behind it.", Cell: func(s *corev1.Service) any { return orNone(labels.FormatLabels(s.Spec.Selector)) }},
	},
	Fields: map[string]func(*corev1.Service) string{
		"spec.clusterIP": func(s *corev1.Service) string { return s.Spec.ClusterIP },
		"spec.type":      func(s *corev1.Service) string { return string(s.Spec.Type) },
	},
}

func clusterIP(s *corev1.Service) string {
	if len(s.Spec.ClusterIPs) > 0 {
		return s.Spec.ClusterIPs[0]
	}
	return orNone(s.Spec.ClusterIP)
}

func externalIP(s *corev1.Service) string {
	switch s.Spec.Type {
	case corev1.ServiceTypeExternalName:
		return s.Spec.ExternalName
	case corev1.ServiceTypeClusterIP, corev1.ServiceTypeNodePort:
		return orNone(strings.Join(s.Spec.ExternalIPs, ","))
	case corev1.ServiceTypeLoadBalancer:
		lb := loadBalancerAddresses(s)
		all := slices.Concat(lb, s.Spec.ExternalIPs)
		if len(all) == 0 {
			return "<pending>"
		}
		return strings.Join(all, ",")
	}
	return "<unknown>"
}

func loadBalancerAddresses(s *corev1.Service) []string {
	var out []string
	for _, in := range s.Status.LoadBalancer.Ingress {
		switch {
		case in.IP != "":
			out = append(out, in.IP)
		case in.Hostname != "":
			out = append(out, in.Hostname)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func servicePorts(s *corev1.Service) string {
	var out []string
	for _, p := range s.Spec.Ports {
		if p.NodePort > 0 {
			out = append(out, fmt.Sprintf("%d:%d/%s", p.Port, p.NodePort, p.Protocol))
			continue
		}
		out = append(out, fmt.Sprintf("%d/%s", p.Port, p.Protocol))
	}
	return orNone(strings.Join(out, ","))
}
