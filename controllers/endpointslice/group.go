package endpointslice

import (
	"encoding/json"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// group is the endpoints of one address family that have the same ports: pods differ in these when a
// Service names the port of its target.
type group struct {
	family    discoveryv1.AddressType
	ports     []discoveryv1.EndpointPort
	endpoints []discoveryv1.Endpoint
	// pods are those of the endpoints, in the same order.
	pods []*corev1.Pod
}

// key tells groups, and the slices that belong to them, apart.
func key(family discoveryv1.AddressType, ports []discoveryv1.EndpointPort) string {
	text, err := json.Marshal(ports)
	if err != nil || len(ports) == 0 {
		return string(family)
	}
	return string(family) + string(text)
}

// groupsOf computes the endpoints of a Service, in the order of the pods; zones are by node. Each family
// has a group, if an empty one.
func groupsOf(svc *corev1.Service, pods []*corev1.Pod, zones map[string]string) []group {
	var out []group
	for _, family := range families(svc) {
		at := map[string]int{}
		first := len(out)
		for _, pod := range pods {
			ip := addressOf(pod, family)
			if ip == "" || pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
				continue
			}
			ports := portsOf(svc, pod)
			k := key(family, ports)
			i, ok := at[k]
			if !ok {
				i = len(out)
				at[k] = i
				out = append(out, group{family: family, ports: ports})
			}
			out[i].endpoints = append(out[i].endpoints, endpointOf(svc, pod, ip, zones[pod.Spec.NodeName]))
			out[i].pods = append(out[i].pods, pod)
		}
		if len(out) == first {
			out = append(out, group{family: family})
		}
	}
	return out
}

func families(svc *corev1.Service) []discoveryv1.AddressType {
	var out []discoveryv1.AddressType
	for _, f := range svc.Spec.IPFamilies {
		if f == corev1.IPv6Protocol {
			out = append(out, discoveryv1.AddressTypeIPv6)
		} else {
			out = append(out, discoveryv1.AddressTypeIPv4)
		}
	}
	if len(out) > 0 {
		return out
	}
	if ip, err := netip.ParseAddr(svc.Spec.ClusterIP); err == nil && ip.Is6() {
		return []discoveryv1.AddressType{discoveryv1.AddressTypeIPv6}
	}
	return []discoveryv1.AddressType{discoveryv1.AddressTypeIPv4}
}

func addressOf(pod *corev1.Pod, family discoveryv1.AddressType) string {
	ips := []string{pod.Status.PodIP}
	for _, ip := range pod.Status.PodIPs {
		ips = append(ips, ip.IP)
	}
	for _, text := range ips {
		if ip, err := netip.ParseAddr(text); err == nil && ip.Is6() == (family == discoveryv1.AddressTypeIPv6) {
			return text
		}
	}
	return ""
}

func ready(pod *corev1.Pod) bool {
	for i := range pod.Status.Conditions {
		if c := &pod.Status.Conditions[i]; c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

func endpointOf(svc *corev1.Service, pod *corev1.Pod, ip, zone string) discoveryv1.Endpoint {
	serving, terminating := ready(pod), pod.DeletionTimestamp != nil
	usable := svc.Spec.PublishNotReadyAddresses || serving && !terminating
	e := discoveryv1.Endpoint{
		Addresses:  []string{ip},
		Conditions: discoveryv1.EndpointConditions{Ready: &usable, Serving: &serving, Terminating: &terminating},
		TargetRef:  &corev1.ObjectReference{Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID},
	}
	if pod.Spec.NodeName != "" {
		e.NodeName = new(pod.Spec.NodeName)
	}
	if zone != "" {
		e.Zone = &zone
	}
	if pod.Spec.Hostname != "" && pod.Spec.Subdomain == svc.Name {
		e.Hostname = new(pod.Spec.Hostname)
	}
	return e
}

// portsOf resolves the Service's ports for a pod; a port that the pod does not have is left out.
func portsOf(svc *corev1.Service, pod *corev1.Pod) []discoveryv1.EndpointPort {
	out := []discoveryv1.EndpointPort{}
	for i := range svc.Spec.Ports {
		p := &svc.Spec.Ports[i]
		number, ok := target(p, pod)
		if !ok {
			continue
		}
		port := discoveryv1.EndpointPort{Name: new(p.Name), Protocol: new(p.Protocol), Port: &number}
		if p.AppProtocol != nil {
			port.AppProtocol = new(*p.AppProtocol)
		}
		out = append(out, port)
	}
	return out
}

func target(p *corev1.ServicePort, pod *corev1.Pod) (int32, bool) {
	if p.TargetPort.Type == intstr.Int {
		if p.TargetPort.IntVal == 0 {
			return p.Port, true
		}
		return p.TargetPort.IntVal, true
	}
	find := func(c *corev1.Container) (int32, bool) {
		for _, port := range c.Ports {
			if port.Name == p.TargetPort.StrVal && port.Protocol == p.Protocol {
				return port.ContainerPort, true
			}
		}
		return 0, false
	}
	for i := range pod.Spec.Containers {
		if n, ok := find(&pod.Spec.Containers[i]); ok {
			return n, true
		}
	}
	for i := range pod.Spec.InitContainers {
		c := &pod.Spec.InitContainers[i]
		if c.RestartPolicy == nil || *c.RestartPolicy != corev1.ContainerRestartPolicyAlways {
			continue
		}
		if n, ok := find(c); ok {
			return n, true
		}
	}
	return 0, false
}
