package networking

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/intstr"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api"
)

// NetworkPolicies is all that the server, the printer and the docs know of NetworkPolicy.
var NetworkPolicies = api.Kind[networkingv1.NetworkPolicy]{
	Group: "networking.k8s.io", Version: "v1", Name: "NetworkPolicy", Plural: "networkpolicies", Short: []string{"netpol"}, Namespaced: true,
	Generation: true,
	Default:    defaultNetworkPolicy,
	Validate: func(n, _ *networkingv1.NetworkPolicy) field.ErrorList {
		return validatePolicy(&n.Spec, field.NewPath("spec"))
	},
	Columns: []api.Column[networkingv1.NetworkPolicy]{
		api.NameColumn[networkingv1.NetworkPolicy](),
		{Name: "Pod-Selector", Description: "The pods that the policy is about.", Cell: func(n *networkingv1.NetworkPolicy) any { return metav1.FormatLabelSelector(&n.Spec.PodSelector) }},
		api.AgeColumn[networkingv1.NetworkPolicy](),
	},
}

func defaultNetworkPolicy(n *networkingv1.NetworkPolicy) {
	protocols := func(list []networkingv1.NetworkPolicyPort) {
		for i := range list {
			if list[i].Protocol == nil {
				list[i].Protocol = new(corev1.ProtocolTCP)
			}
		}
	}
	for i := range n.Spec.Ingress {
		protocols(n.Spec.Ingress[i].Ports)
	}
	for i := range n.Spec.Egress {
		protocols(n.Spec.Egress[i].Ports)
	}
	if len(n.Spec.PolicyTypes) == 0 {
		n.Spec.PolicyTypes = []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}
		if len(n.Spec.Egress) > 0 {
			n.Spec.PolicyTypes = append(n.Spec.PolicyTypes, networkingv1.PolicyTypeEgress)
		}
	}
}

func validatePolicy(s *networkingv1.NetworkPolicySpec, p *field.Path) field.ErrorList {
	errs := validateSelector(&s.PodSelector, p.Child("podSelector"))
	for i, r := range s.Ingress {
		at := p.Child("ingress").Index(i)
		errs = append(errs, validateTraffic(r.Ports, r.From, at.Child("ports"), at.Child("from"))...)
	}
	for i, r := range s.Egress {
		at := p.Child("egress").Index(i)
		errs = append(errs, validateTraffic(r.Ports, r.To, at.Child("ports"), at.Child("to"))...)
	}
	types := []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress}
	if len(s.PolicyTypes) > len(types) {
		return append(errs, field.Invalid(p.Child("policyTypes"), &s.PolicyTypes, "may not specify more than two policyTypes"))
	}
	for i, t := range s.PolicyTypes {
		if !slices.Contains(types, t) {
			errs = append(errs, field.NotSupported(p.Child("policyTypes").Index(i), t, types))
		}
	}
	return errs
}

func validateSelector(s *metav1.LabelSelector, p *field.Path) field.ErrorList {
	return metavalidation.ValidateLabelSelector(s, metavalidation.LabelSelectorValidationOptions{}, p)
}

func validateTraffic(ports []networkingv1.NetworkPolicyPort, peers []networkingv1.NetworkPolicyPeer, atPorts, atPeers *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := range ports {
		errs = append(errs, validatePort(&ports[i], atPorts.Index(i))...)
	}
	for i := range peers {
		errs = append(errs, validatePeer(&peers[i], atPeers.Index(i))...)
	}
	return errs
}

func validatePort(v *networkingv1.NetworkPolicyPort, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	protocols := []corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP}
	if v.Protocol != nil && !slices.Contains(protocols, *v.Protocol) {
		errs = append(errs, field.NotSupported(p.Child("protocol"), *v.Protocol, protocols))
	}
	switch end := v.EndPort; {
	case v.Port == nil && end != nil:
		errs = append(errs, field.Invalid(p.Child("endPort"), *end, "may not be specified when `port` is not specified"))
	case v.Port == nil:
	case v.Port.Type == intstr.String:
		if end != nil {
			errs = append(errs, field.Invalid(p.Child("endPort"), *end, "may not be specified when `port` is non-numeric"))
		}
		errs = append(errs, api.Invalid(p.Child("port"), v.Port.StrVal, utilvalidation.IsValidPortName(v.Port.StrVal))...)
	default:
		errs = append(errs, api.Invalid(p.Child("port"), v.Port.IntVal, utilvalidation.IsValidPortNum(int(v.Port.IntVal)))...)
		if end != nil && *end < v.Port.IntVal {
			errs = append(errs, field.Invalid(p.Child("endPort"), v.Port.IntVal, "must be greater than or equal to `port`"))
		}
		if end != nil {
			errs = append(errs, api.Invalid(p.Child("endPort"), *end, utilvalidation.IsValidPortNum(int(*end)))...)
		}
	}
	return errs
}

func validatePeer(v *networkingv1.NetworkPolicyPeer, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	if v.PodSelector != nil {
		errs = append(errs, validateSelector(v.PodSelector, p.Child("podSelector"))...)
	}
	if v.NamespaceSelector != nil {
		errs = append(errs, validateSelector(v.NamespaceSelector, p.Child("namespaceSelector"))...)
	}
	if v.IPBlock != nil {
		errs = append(errs, validateBlock(v.IPBlock, p.Child("ipBlock"))...)
	}
	selects := v.PodSelector != nil || v.NamespaceSelector != nil
	switch {
	case !selects && v.IPBlock == nil:
		errs = append(errs, field.Required(p, "must specify a peer"))
	case selects && v.IPBlock != nil:
		errs = append(errs, field.Forbidden(p, "may not specify both ipBlock and another peer"))
	}
	return errs
}

func validateBlock(b *networkingv1.IPBlock, p *field.Path) field.ErrorList {
	if b.CIDR == "" {
		return field.ErrorList{field.Required(p.Child("cidr"), "")}
	}
	errs := utilvalidation.IsValidCIDRForLegacyField(p.Child("cidr"), b.CIDR, true, nil)
	whole, err := netip.ParsePrefix(b.CIDR)
	if err != nil {
		return errs
	}
	for i, except := range b.Except {
		at := p.Child("except").Index(i)
		errs = append(errs, utilvalidation.IsValidCIDRForLegacyField(at, except, true, nil)...)
		part, err := netip.ParsePrefix(except)
		if err == nil && (!whole.Contains(part.Masked().Addr()) || whole.Bits() >= part.Bits()) {
			errs = append(errs, field.Invalid(at, except, "must be a strict subset of `cidr`"))
		}
	}
	return errs
}
