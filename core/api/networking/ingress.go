package networking

import (
	"fmt"
	"slices"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api"
)

// ClassAnnotation named the class of an Ingress before there was a field for it.
const ClassAnnotation = "kubernetes.io/ingress.class"

const none = "<none>"

// maxHosts is how many hosts are printed.
const maxHosts = 3

// Ingresses is all that the server, the printer and the docs know of Ingress.
var Ingresses = api.Kind[networkingv1.Ingress]{
	Group: "networking.k8s.io", Version: "v1", Name: "Ingress", Plural: "ingresses", Short: []string{"ing"}, Namespaced: true,
	StoragePrefix:  "ingress",
	Subresources:   api.Status,
	StatusMetadata: true,
	Generation:     true,
	Validate:       validateIngress,
	ValidateStatus: validateIngressStatus,
	Warn:           warnIngress,
	Columns: []api.Column[networkingv1.Ingress]{
		api.NameColumn[networkingv1.Ingress](),
		{Name: "Class", Description: "The name of the IngressClass.", Cell: func(i *networkingv1.Ingress) any { return ingressClass(i) }},
		{Name: "Hosts", Description: "The hosts of the rules.", Cell: func(i *networkingv1.Ingress) any { return hosts(i) }},
		{Name: "Address", Description: "Where it is reached.", Cell: func(i *networkingv1.Ingress) any { return addresses(i) }},
		{Name: "Ports", Description: "The ports that are open.", Cell: func(i *networkingv1.Ingress) any { return ports(i) }},
		api.AgeColumn[networkingv1.Ingress](),
	},
}

func ingressClass(i *networkingv1.Ingress) string {
	if i.Spec.IngressClassName == nil {
		return none
	}
	return *i.Spec.IngressClassName
}

func hosts(i *networkingv1.Ingress) string {
	var list []string
	for _, r := range i.Spec.Rules {
		if r.Host != "" {
			list = append(list, r.Host)
		}
	}
	switch {
	case len(list) == 0:
		return "*"
	case len(list) > maxHosts:
		return fmt.Sprintf("%s + %d more...", strings.Join(list[:maxHosts], ","), len(list)-maxHosts)
	}
	return strings.Join(list, ",")
}

func addresses(i *networkingv1.Ingress) string {
	var list []string
	for _, a := range i.Status.LoadBalancer.Ingress {
		switch {
		case a.IP != "":
			list = append(list, a.IP)
		case a.Hostname != "":
			list = append(list, a.Hostname)
		}
	}
	slices.Sort(list)
	return strings.Join(slices.Compact(list), ",")
}

func ports(i *networkingv1.Ingress) string {
	if len(i.Spec.TLS) > 0 {
		return "80, 443"
	}
	return "80"
}

func warnIngress(i, old *networkingv1.Ingress) []string {
	if _, ok := i.Annotations[ClassAnnotation]; ok && old == nil {
		return []string{fmt.Sprintf("annotation %q is deprecated, please use 'spec.ingressClassName' instead", ClassAnnotation)}
	}
	return nil
}

func validateIngress(i, old *networkingv1.Ingress) field.ErrorList {
	errs := validateIngressSpec(&i.Spec, old, field.NewPath("spec"))
	class, ok := i.Annotations[ClassAnnotation]
	if old == nil && ok && i.Spec.IngressClassName != nil && class != *i.Spec.IngressClassName {
		errs = append(errs, field.Invalid(field.NewPath("annotations").Child(ClassAnnotation), class, "must match `ingressClassName` when both are specified"))
	}
	return errs
}
