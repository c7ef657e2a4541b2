package core

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/validation"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/sets"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api"
)

const (
	kubeletPort        = 10250
	maxAffinitySeconds = 86400
	onlyLoadBalancer   = "may only be used when `type` is 'LoadBalancer'"
)

func validateService(s, old *corev1.Service) field.ErrorList {
	p := field.NewPath("spec")
	errs := validateServiceType(s, p)
	errs = append(errs, validateServicePorts(s, p.Child("ports"))...)
	errs = append(errs, metavalidation.ValidateLabels(s.Spec.Selector, p.Child("selector"))...)
	errs = append(errs, validateSessionAffinity(&s.Spec, p)...)
	errs = append(errs, validateClusterIPs(s, p)...)
	errs = append(errs, validateExternalIPs(s, old, p.Child("externalIPs"))...)
	errs = append(errs, validateLoadBalancer(s, p)...)
	errs = append(errs, validateTrafficPolicies(s, p)...)
	if old != nil {
		errs = append(errs, validateServiceUpdate(s, old, p)...)
	}
	return errs
}

func validateServiceType(s *corev1.Service, p *field.Path) field.ErrorList {
	errs := oneOf(s.Spec.Type, p.Child("type"), corev1.ServiceTypeClusterIP, corev1.ServiceTypeExternalName,
		corev1.ServiceTypeLoadBalancer, corev1.ServiceTypeNodePort)
	ips := p.Child("clusterIPs").Index(0)
	switch s.Spec.Type {
	case corev1.ServiceTypeLoadBalancer:
		for i, port := range s.Spec.Ports {
			if port.Port == kubeletPort {
				errs = append(errs, field.Invalid(p.Child("ports").Index(i), kubeletPort, fmt.Sprintf("may not expose port %v externally since it is used by kubelet", kubeletPort)))
			}
		}
		if isHeadless(s) {
			errs = append(errs, field.Invalid(ips, s.Spec.ClusterIP, "may not be set to 'None' for LoadBalancer services"))
		}
	case corev1.ServiceTypeNodePort:
		if isHeadless(s) {
			errs = append(errs, field.Invalid(ips, s.Spec.ClusterIP, "may not be set to 'None' for NodePort services"))
		}
	case corev1.ServiceTypeExternalName:
		if len(s.Spec.ClusterIPs) > 0 {
			errs = append(errs, field.Forbidden(p.Child("clusterIPs"), "may not be set for ExternalName services"))
		}
		name := strings.TrimSuffix(s.Spec.ExternalName, ".")
		if name == "" {
			return append(errs, field.Required(p.Child("externalName"), ""))
		}
		errs = append(errs, api.DNSSubdomain(name, p.Child("externalName"))...)
	}
	return errs
}

func isHeadless(s *corev1.Service) bool {
	return s.Spec.ClusterIP == corev1.ClusterIPNone || len(s.Spec.ClusterIPs) == 1 && s.Spec.ClusterIPs[0] == corev1.ClusterIPNone
}

func validateServicePorts(s *corev1.Service, p *field.Path) field.ErrorList {
	ports := s.Spec.Ports
	if len(ports) == 0 && !isHeadless(s) && s.Spec.Type != corev1.ServiceTypeExternalName {
		return field.ErrorList{field.Required(p, "")}
	}
	var errs field.ErrorList
	names, keys, nodePorts := sets.New[string](), sets.New[portKey](), sets.New[portKey]()
	for i := range ports {
		port, at := &ports[i], p.Index(i)
		errs = append(errs, validateServicePort(port, len(ports) > 1, names, at)...)
		key := portKey{port.Protocol, port.Port}
		if keys.Has(key) {
			errs = append(errs, field.Duplicate(at, corev1.ServicePort{Protocol: port.Protocol, Port: port.Port}))
		}
		keys.Insert(key)
		if port.NodePort == 0 {
			continue
		}
		if s.Spec.Type == corev1.ServiceTypeClusterIP || s.Spec.Type == corev1.ServiceTypeExternalName {
			errs = append(errs, field.Forbidden(at.Child("nodePort"), fmt.Sprintf("may not be used when `type` is '%s'", s.Spec.Type)))
			continue
		}
		if nodeKey := (portKey{port.Protocol, port.NodePort}); nodePorts.Has(nodeKey) {
			errs = append(errs, field.Duplicate(at.Child("nodePort"), port.NodePort))
		} else {
			nodePorts.Insert(nodeKey)
		}
	}
	return errs
}

func validateServicePort(port *corev1.ServicePort, named bool, names sets.Set[string], p *field.Path) field.ErrorList {
	var errs field.ErrorList
	switch {
	case port.Name == "" && named:
		errs = append(errs, field.Required(p.Child("name"), ""))
	case port.Name != "":
		errs = append(errs, api.DNSLabel(port.Name, p.Child("name"))...)
		if names.Has(port.Name) {
			errs = append(errs, field.Duplicate(p.Child("name"), port.Name))
		}
		names.Insert(port.Name)
	}
	errs = append(errs, api.Invalid(p.Child("port"), port.Port, utilvalidation.IsValidPortNum(int(port.Port)))...)
	errs = append(errs, oneOf(port.Protocol, p.Child("protocol"), corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP)...)
	errs = append(errs, portOrName(port.TargetPort, p.Child("targetPort"))...)
	if port.AppProtocol != nil {
		errs = append(errs, qualifiedName(*port.AppProtocol, p.Child("appProtocol"))...)
	}
	return errs
}

func validateSessionAffinity(spec *corev1.ServiceSpec, p *field.Path) field.ErrorList {
	errs := oneOf(spec.SessionAffinity, p.Child("sessionAffinity"), corev1.ServiceAffinityClientIP, corev1.ServiceAffinityNone)
	at, config := p.Child("sessionAffinityConfig"), spec.SessionAffinityConfig
	switch spec.SessionAffinity {
	case corev1.ServiceAffinityNone:
		if config != nil {
			errs = append(errs, field.Forbidden(at, fmt.Sprintf("must not be set when session affinity is %s", corev1.ServiceAffinityNone)))
		}
	case corev1.ServiceAffinityClientIP:
		if config == nil || config.ClientIP == nil || config.ClientIP.TimeoutSeconds == nil {
			return append(errs, field.Required(at, fmt.Sprintf("when session affinity type is %s", corev1.ServiceAffinityClientIP)))
		}
		if t := *config.ClientIP.TimeoutSeconds; t <= 0 || t > maxAffinitySeconds {
			errs = append(errs, field.Invalid(at.Child("clientIP", "timeoutSeconds"), t,
				fmt.Sprintf("must be greater than 0 and less than %d", maxAffinitySeconds)))
		}
	}
	return errs
}

// validateClusterIPs checks what is there; addresses are chosen elsewhere.
func validateClusterIPs(s *corev1.Service, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	spec, at := &s.Spec, p.Child("clusterIPs")
	if spec.ClusterIP == "" && len(spec.ClusterIPs) > 0 {
		errs = append(errs, field.Forbidden(at, "must be empty when `clusterIP` is not specified"))
	}
	if spec.ClusterIP != "" && len(spec.ClusterIPs) > 0 && spec.ClusterIPs[0] != spec.ClusterIP {
		errs = append(errs, field.Invalid(at, spec.ClusterIPs, "first value must match `clusterIP`"))
	}
	if len(spec.ClusterIPs) > 2 {
		errs = append(errs, field.Invalid(at, spec.ClusterIPs, "may only hold up to 2 values"))
	}
	for i, ip := range spec.ClusterIPs {
		if ip == corev1.ClusterIPNone {
			if len(spec.ClusterIPs) > 1 {
				errs = append(errs, field.Invalid(at.Index(i), ip, "must be a valid IP address"))
			}
			continue
		}
		errs = append(errs, utilvalidation.IsValidIPForLegacyField(at.Index(i), ip, true, nil)...)
	}
	for i, f := range spec.IPFamilies {
		errs = append(errs, oneOf(f, p.Child("ipFamilies").Index(i), corev1.IPv4Protocol, corev1.IPv6Protocol)...)
		if slices.Contains(spec.IPFamilies[:i], f) {
			errs = append(errs, field.Duplicate(p.Child("ipFamilies").Index(i), f))
		}
	}
	return append(errs, optionalOneOf(spec.IPFamilyPolicy, p.Child("ipFamilyPolicy"),
		corev1.IPFamilyPolicySingleStack, corev1.IPFamilyPolicyPreferDualStack, corev1.IPFamilyPolicyRequireDualStack)...)
}

func validateExternalIPs(s, old *corev1.Service, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	var known []string
	if old != nil {
		known = old.Spec.ExternalIPs
	}
	for i, ip := range s.Spec.ExternalIPs {
		wrong := utilvalidation.IsValidIPForLegacyField(p.Index(i), ip, true, known)
		if len(wrong) == 0 {
			wrong = notSpecial(ip, p.Index(i))
		}
		errs = append(errs, wrong...)
	}
	return errs
}

// notSpecial refuses addresses that mean something else on every machine.
func notSpecial(s string, p *field.Path) field.ErrorList {
	ip, err := netip.ParseAddr(s)
	if err != nil {
		return nil
	}
	var errs field.ErrorList
	if ip.IsUnspecified() {
		errs = append(errs, field.Invalid(p, s, fmt.Sprintf("may not be unspecified (%v)", ip)))
	}
	if ip.IsLoopback() {
		errs = append(errs, field.Invalid(p, s, "may not be in the loopback range (127.0.0.0/8, ::1/128)"))
	}
	if ip.IsLinkLocalUnicast() {
		errs = append(errs, field.Invalid(p, s, "may not be in the link-local range (169.254.0.0/16, fe80::/10)"))
	}
	if ip.IsLinkLocalMulticast() {
		errs = append(errs, field.Invalid(p, s, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"))
	}
	return errs
}

func validateLoadBalancer(s *corev1.Service, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	isLB := s.Spec.Type == corev1.ServiceTypeLoadBalancer
	for i, r := range s.Spec.LoadBalancerSourceRanges {
		at := p.Child("loadBalancerSourceRanges")
		if !isLB {
			errs = append(errs, field.Forbidden(at, onlyLoadBalancer))
			break
		}
		errs = append(errs, utilvalidation.IsValidCIDRForLegacyField(at.Index(i), strings.TrimSpace(r), true, nil)...)
	}
	if isLB && s.Spec.AllocateLoadBalancerNodePorts == nil {
		errs = append(errs, field.Required(p.Child("allocateLoadBalancerNodePorts"), ""))
	}
	if !isLB && s.Spec.AllocateLoadBalancerNodePorts != nil {
		errs = append(errs, field.Forbidden(p.Child("allocateLoadBalancerNodePorts"), onlyLoadBalancer))
	}
	if class := s.Spec.LoadBalancerClass; class != nil {
		if !isLB {
			errs = append(errs, field.Forbidden(p.Child("loadBalancerClass"), onlyLoadBalancer))
		}
		errs = append(errs, qualifiedName(*class, p.Child("loadBalancerClass"))...)
	}
	return errs
}

func validateTrafficPolicies(s *corev1.Service, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	spec, external := &s.Spec, p.Child("externalTrafficPolicy")
	switch {
	case externallyAccessible(s):
		errs = append(errs, oneOf(spec.ExternalTrafficPolicy, external,
			corev1.ServiceExternalTrafficPolicyCluster, corev1.ServiceExternalTrafficPolicyLocal)...)
	case spec.ExternalTrafficPolicy != "":
		errs = append(errs, field.Invalid(external, spec.ExternalTrafficPolicy, "may only be set for externally-accessible services"))
	}
	health := p.Child("healthCheckNodePort")
	if n := spec.HealthCheckNodePort; n != 0 {
		errs = append(errs, api.Invalid(health, n, utilvalidation.IsValidPortNum(int(n)))...)
		if !needsHealthCheckPort(s) {
			errs = append(errs, field.Invalid(health, n, "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"))
		}
	}
	internal := p.Child("internalTrafficPolicy")
	switch {
	case spec.InternalTrafficPolicy != nil:
		errs = append(errs, optionalOneOf(spec.InternalTrafficPolicy, internal,
			corev1.ServiceInternalTrafficPolicyCluster, corev1.ServiceInternalTrafficPolicyLocal)...)
	case spec.Type != corev1.ServiceTypeExternalName:
		errs = append(errs, field.Required(internal, ""))
	}
	return append(errs, optionalOneOf(spec.TrafficDistribution, p.Child("trafficDistribution"),
		corev1.ServiceTrafficDistributionPreferClose, corev1.ServiceTrafficDistributionPreferSameZone, corev1.ServiceTrafficDistributionPreferSameNode)...)
}

func validateServiceUpdate(s, old *corev1.Service, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	if needsClusterIP(s) && needsClusterIP(old) && len(old.Spec.ClusterIPs) > 0 {
		at := p.Child("clusterIPs").Index(0)
		switch {
		case len(s.Spec.ClusterIPs) == 0:
			errs = append(errs, field.Invalid(at, s.Spec.ClusterIPs, "primary clusterIP can not be unset"))
		case s.Spec.ClusterIPs[0] != old.Spec.ClusterIPs[0]:
			errs = append(errs, field.Invalid(at, s.Spec.ClusterIPs, "may not change once set"))
		}
		if len(old.Spec.IPFamilies) > 0 && len(s.Spec.IPFamilies) > 0 && s.Spec.IPFamilies[0] != old.Spec.IPFamilies[0] {
			errs = append(errs, field.Invalid(p.Child("ipFamilies").Index(0), s.Spec.IPFamilies, "may not change once set"))
		}
	}
	bothLB := s.Spec.Type == corev1.ServiceTypeLoadBalancer && old.Spec.Type == corev1.ServiceTypeLoadBalancer
	if bothLB && !samePointer(s.Spec.LoadBalancerClass, old.Spec.LoadBalancerClass) {
		errs = append(errs, field.Invalid(p.Child("loadBalancerClass"), s.Spec.LoadBalancerClass, "may not change once set"))
	}
	if needsHealthCheckPort(s) && needsHealthCheckPort(old) && s.Spec.HealthCheckNodePort != old.Spec.HealthCheckNodePort {
		errs = append(errs, field.Invalid(p.Child("healthCheckNodePort"), s.Spec.HealthCheckNodePort, validation.FieldImmutableErrorMsg))
	}
	return errs
}

func validateServiceStatus(s, _ *corev1.Service) field.ErrorList {
	var errs field.ErrorList
	p := field.NewPath("status", "loadBalancer", "ingress")
	if len(s.Status.LoadBalancer.Ingress) > 0 && s.Spec.Type != corev1.ServiceTypeLoadBalancer {
		return field.ErrorList{field.Forbidden(p, "may only be used when `spec.type` is LoadBalancer")}
	}
	for i, in := range s.Status.LoadBalancer.Ingress {
		at := p.Index(i)
		if in.IP != "" {
			errs = append(errs, utilvalidation.IsValidIPForLegacyField(at.Child("ip"), in.IP, true, nil)...)
		}
		if in.Hostname != "" {
			errs = append(errs, api.DNSSubdomain(in.Hostname, at.Child("hostname"))...)
		}
		switch {
		case in.IP == "" && in.IPMode != nil:
			errs = append(errs, field.Forbidden(at.Child("ipMode"), "may not be specified when `ip` is not set"))
		case in.IPMode != nil:
			errs = append(errs, optionalOneOf(in.IPMode, at.Child("ipMode"), corev1.LoadBalancerIPModeProxy, corev1.LoadBalancerIPModeVIP)...)
		}
	}
	return errs
}
