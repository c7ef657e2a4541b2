package networking

import (
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/validation"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api"
)

const maxController = 250

// IngressClasses is all that the server, the printer and the docs know of IngressClass.
var IngressClasses = api.Kind[networkingv1.IngressClass]{
	Group: "networking.k8s.io", Version: "v1", Name: "IngressClass", Plural: "ingressclasses",
	Earlier:    []string{"networking.k8s.io/v1beta1"},
	Generation: true,
	Default: func(c *networkingv1.IngressClass) {
		if p := c.Spec.Parameters; p != nil && p.Scope == nil {
			p.Scope = new(networkingv1.IngressClassParametersReferenceScopeCluster)
		}
	},
	Validate: validateIngressClass,
	Columns: []api.Column[networkingv1.IngressClass]{
		api.NameColumn[networkingv1.IngressClass](),
		{Name: "Controller", Description: "Who cares for Ingresses of the class.", Cell: func(c *networkingv1.IngressClass) any { return c.Spec.Controller }},
		{Name: "Parameters", Description: "More configuration of the controller.", Cell: func(c *networkingv1.IngressClass) any { return parameters(c) }},
		api.AgeColumn[networkingv1.IngressClass](),
	},
}

// PreferredClass is the class that Ingresses without one get: of several defaults the newest, nil when there is none.
func PreferredClass(classes []*networkingv1.IngressClass) *networkingv1.IngressClass {
	var out *networkingv1.IngressClass
	for _, c := range classes {
		if c.Annotations[networkingv1.AnnotationIsDefaultIngressClass] != "true" {
			continue
		}
		newer := out == nil || out.CreationTimestamp.Before(&c.CreationTimestamp)
		if newer || out.CreationTimestamp.Equal(&c.CreationTimestamp) && c.Name < out.Name {
			out = c
		}
	}
	return out
}

func parameters(c *networkingv1.IngressClass) string {
	p := c.Spec.Parameters
	if p == nil {
		return none
	}
	kind := p.Kind
	if p.APIGroup != nil {
		kind += "." + *p.APIGroup
	}
	return kind + "/" + p.Name
}

func validateIngressClass(c, old *networkingv1.IngressClass) field.ErrorList {
	p := field.NewPath("spec")
	var errs field.ErrorList
	if len(c.Spec.Controller) > maxController {
		errs = append(errs, field.TooLong(p.Child("controller"), "", maxController))
	}
	errs = append(errs, utilvalidation.IsDomainPrefixedPath(p.Child("controller"), c.Spec.Controller)...)
	errs = append(errs, validateParameters(c.Spec.Parameters, p.Child("parameters"))...)
	if old != nil {
		errs = append(errs, validation.ValidateImmutableField(c.Spec.Controller, old.Spec.Controller, p.Child("controller"))...)
	}
	return errs
}

func validateParameters(r *networkingv1.IngressClassParametersReference, p *field.Path) field.ErrorList {
	if r == nil {
		return nil
	}
	errs := validateReference(&corev1.TypedLocalObjectReference{APIGroup: r.APIGroup, Kind: r.Kind, Name: r.Name}, p)
	switch scope := *r.Scope; {
	case scope == networkingv1.IngressClassParametersReferenceScopeCluster && r.Namespace != nil:
		errs = append(errs, field.Forbidden(p.Child("namespace"), "`parameters.scope` is set to 'Cluster'"))
	case scope == networkingv1.IngressClassParametersReferenceScopeCluster:
	case scope != networkingv1.IngressClassParametersReferenceScopeNamespace:
		errs = append(errs, field.NotSupported(p.Child("scope"), scope,
			[]string{networkingv1.IngressClassParametersReferenceScopeCluster, networkingv1.IngressClassParametersReferenceScopeNamespace}))
	case r.Namespace == nil:
		errs = append(errs, field.Required(p.Child("namespace"), "`parameters.scope` is set to 'Namespace'"))
	default:
		errs = append(errs, api.Invalid(p.Child("namespace"), *r.Namespace, utilvalidation.IsDNS1123Label(*r.Namespace))...)
	}
	return errs
}
