package core

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func defaultService(s *corev1.Service) {
	spec := &s.Spec
	setDefault(&spec.SessionAffinity, corev1.ServiceAffinityNone)
	switch spec.SessionAffinity {
	case corev1.ServiceAffinityNone:
		spec.SessionAffinityConfig = nil
	case corev1.ServiceAffinityClientIP:
		if c := spec.SessionAffinityConfig; c == nil || c.ClientIP == nil || c.ClientIP.TimeoutSeconds == nil {
			spec.SessionAffinityConfig = &corev1.SessionAffinityConfig{
				ClientIP: &corev1.ClientIPConfig{TimeoutSeconds: new(corev1.DefaultClientIPServiceAffinitySeconds)},
			}
		}
	}
	setDefault(&spec.Type, corev1.ServiceTypeClusterIP)
	for i := range spec.Ports {
		port := &spec.Ports[i]
		setDefault(&port.Protocol, corev1.ProtocolTCP)
		if port.TargetPort == intstr.FromInt32(0) || port.TargetPort == intstr.FromString("") {
			port.TargetPort = intstr.FromInt32(port.Port)
		}
	}
	if externallyAccessible(s) {
		setDefault(&spec.ExternalTrafficPolicy, corev1.ServiceExternalTrafficPolicyCluster)
	}
	if spec.Type != corev1.ServiceTypeExternalName {
		setDefaultPointer(&spec.InternalTrafficPolicy, corev1.ServiceInternalTrafficPolicyCluster)
	}
	if spec.Type != corev1.ServiceTypeLoadBalancer {
		return
	}
	setDefaultPointer(&spec.AllocateLoadBalancerNodePorts, true)
	for i := range s.Status.LoadBalancer.Ingress {
		if in := &s.Status.LoadBalancer.Ingress[i]; in.IP != "" {
			setDefaultPointer(&in.IPMode, corev1.LoadBalancerIPModeVIP)
		}
	}
}

func externallyAccessible(s *corev1.Service) bool {
	switch s.Spec.Type {
	case corev1.ServiceTypeLoadBalancer, corev1.ServiceTypeNodePort:
		return true
	case corev1.ServiceTypeClusterIP:
		return len(s.Spec.ExternalIPs) > 0
	}
	return false
}

// prepareService keeps the two spellings of the cluster address together and, on update, what was
// allocated where the user left it out, and drops what a change of the type has made meaningless.
// Choosing new addresses and ports is not its part.
func prepareService(s, old *corev1.Service) {
	if old != nil {
		keepAllocated(s, old)
	}
	normalizeClusterIPs(s, old)
	if old != nil {
		dropForeignToType(s, old)
	}
}

// keepAllocated fills the addresses and ports that the update leaves out from the old object.
func keepAllocated(s, old *corev1.Service) {
	if needsClusterIP(s) && needsClusterIP(old) {
		if s.Spec.ClusterIP == "" && len(s.Spec.ClusterIPs) == 0 {
			s.Spec.ClusterIP = old.Spec.ClusterIP
			s.Spec.ClusterIPs = slices.Clone(old.Spec.ClusterIPs)
		}
		if s.Spec.IPFamilyPolicy == nil {
			s.Spec.IPFamilyPolicy = old.Spec.IPFamilyPolicy
		}
		if len(s.Spec.IPFamilies) == 0 {
			s.Spec.IPFamilies = slices.Clone(old.Spec.IPFamilies)
		}
	}
	if needsNodePort(s) && needsNodePort(old) {
		keepNodePorts(s, old)
	}
	if needsHealthCheckPort(s) && needsHealthCheckPort(old) && s.Spec.HealthCheckNodePort == 0 {
		s.Spec.HealthCheckNodePort = old.Spec.HealthCheckNodePort
	}
}

type portKey struct {
	protocol corev1.Protocol
	port     int32
}

func keepNodePorts(s, old *corev1.Service) {
	had, used := map[portKey]int32{}, map[portKey]bool{}
	for _, p := range old.Spec.Ports {
		had[portKey{p.Protocol, p.Port}] = p.NodePort
	}
	for _, p := range s.Spec.Ports {
		if p.NodePort != 0 {
			used[portKey{p.Protocol, p.NodePort}] = true
		}
	}
	for i := range s.Spec.Ports {
		p := &s.Spec.Ports[i]
		before := had[portKey{p.Protocol, p.Port}]
		if p.NodePort == 0 && before != 0 && !used[portKey{p.Protocol, before}] {
			p.NodePort = before
		}
	}
}

// normalizeClusterIPs follows whichever of clusterIP and clusterIPs a client that knows only one changed.
func normalizeClusterIPs(s, old *corev1.Service) {
	spec := &s.Spec
	if old == nil {
		if spec.ClusterIP != "" && len(spec.ClusterIPs) == 0 {
			spec.ClusterIPs = []string{spec.ClusterIP}
		}
		return
	}
	changedOne := spec.ClusterIP != old.Spec.ClusterIP
	changedMany := !slices.Equal(spec.ClusterIPs, old.Spec.ClusterIPs)
	switch {
	case changedOne && !changedMany && spec.ClusterIP == "":
		spec.ClusterIPs = nil
	case changedOne && !changedMany:
		spec.ClusterIPs = []string{spec.ClusterIP}
	case !changedOne && changedMany && len(spec.ClusterIPs) == 0:
		spec.ClusterIP = ""
	}
}

// dropForeignToType clears what the new type does not use and the user has not touched.
func dropForeignToType(s, old *corev1.Service) {
	spec, before := &s.Spec, &old.Spec
	if needsClusterIP(old) && !needsClusterIP(s) && slices.Equal(spec.ClusterIPs, before.ClusterIPs) {
		spec.ClusterIP, spec.ClusterIPs, spec.IPFamilies, spec.IPFamilyPolicy = "", nil, nil, nil
	}
	if needsNodePort(old) && !needsNodePort(s) && sameNodePorts(spec.Ports, before.Ports) {
		for i := range spec.Ports {
			spec.Ports[i].NodePort = 0
		}
	}
	if needsHealthCheckPort(old) && !needsHealthCheckPort(s) && spec.HealthCheckNodePort == before.HealthCheckNodePort {
		spec.HealthCheckNodePort = 0
	}
	wasLB, isLB := before.Type == corev1.ServiceTypeLoadBalancer, spec.Type == corev1.ServiceTypeLoadBalancer
	if wasLB && !isLB && samePointer(spec.AllocateLoadBalancerNodePorts, before.AllocateLoadBalancerNodePorts) {
		spec.AllocateLoadBalancerNodePorts = nil
	}
	if wasLB && !isLB && samePointer(spec.LoadBalancerClass, before.LoadBalancerClass) {
		spec.LoadBalancerClass = nil
	}
	if externallyAccessible(old) && !externallyAccessible(s) && spec.ExternalTrafficPolicy == before.ExternalTrafficPolicy {
		spec.ExternalTrafficPolicy = ""
	}
	if spec.Type == corev1.ServiceTypeExternalName && samePointer(spec.InternalTrafficPolicy, before.InternalTrafficPolicy) {
		spec.InternalTrafficPolicy = nil
	}
}

func sameNodePorts(a, b []corev1.ServicePort) bool {
	have := map[int32]bool{}
	for _, p := range b {
		have[p.NodePort] = true
	}
	return !slices.ContainsFunc(a, func(p corev1.ServicePort) bool { return p.NodePort != 0 && !have[p.NodePort] })
}

func samePointer[T comparable](a, b *T) bool {
	return a == b || a != nil && b != nil && *a == *b
}

func needsClusterIP(s *corev1.Service) bool {
	return s.Spec.Type != corev1.ServiceTypeExternalName
}

func needsNodePort(s *corev1.Service) bool {
	return s.Spec.Type == corev1.ServiceTypeNodePort || s.Spec.Type == corev1.ServiceTypeLoadBalancer &&
		(s.Spec.AllocateLoadBalancerNodePorts == nil || *s.Spec.AllocateLoadBalancerNodePorts)
}

func needsHealthCheckPort(s *corev1.Service) bool {
	return s.Spec.Type == corev1.ServiceTypeLoadBalancer && s.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal
}
