package pod

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	resourcehelper "k8s.io/component-helpers/resource"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
)

// Admit tells why a node must refuse a pod that was assigned to it, or nil. Others are the pods that the node already
// accepted and that are not over.
func Admit(p *corev1.Pod, others []*corev1.Pod, node *corev1.Node) *Verdict {
	if p.Spec.OS != nil && p.Spec.OS.Name != corev1.Linux {
		return &Verdict{Reason: "PodOSNotSupported", Message: "Failed to admit pod as the OS field doesn't match node OS"}
	}
	if node == nil {
		return nil
	}
	if reason, message := placed(p, others, node); reason != "" {
		return &Verdict{Reason: reason, Message: message}
	}
	if reason, message := refusal(p, others, node); reason != "" {
		return &Verdict{Reason: reason, Message: "Pod was rejected: " + message}
	}
	return nil
}

// placed tells why a pod must not be on a node, whatever it asks for.
func placed(p *corev1.Pod, others []*corev1.Pod, node *corev1.Node) (reason, message string) {
	if ok, err := nodeaffinity.GetRequiredNodeAffinity(p).Match(node); err != nil {
		return "UnexpectedAdmissionError", fmt.Sprintf("Allocate failed due to %v, which is unexpected", err)
	} else if !ok {
		return "NodeAffinity", "Pod was rejected: Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"
	}
	if portsClash(p, others) {
		return "NodePorts", "Pod was rejected: Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports"
	}
	return "", ""
}

func requests(p *corev1.Pod) corev1.ResourceList {
	return resourcehelper.PodRequests(p, resourcehelper.PodResourcesOptions{})
}

// refusal tells why the node has not what a pod asks for beside what others take.
func refusal(p *corev1.Pod, others []*corev1.Pod, node *corev1.Node) (reason, message string) {
	want := requests(p)
	want[corev1.ResourcePods] = *resource.NewQuantity(1, resource.DecimalSI)
	used := corev1.ResourceList{}
	for _, other := range others {
		for name, q := range requests(other) {
			sum := used[name]
			sum.Add(q)
			used[name] = sum
		}
	}
	used[corev1.ResourcePods] = *resource.NewQuantity(int64(len(others)), resource.DecimalSI)
	for _, name := range sortedNames(want) {
		q := want[name]
		have, ok := node.Status.Allocatable[name]
		if q.IsZero() || !ok && native(name) {
			continue
		}
		total := used[name]
		total.Add(q)
		if total.Cmp(have) > 0 {
			u := used[name]
			return "OutOf" + string(name), fmt.Sprintf(
				"Node didn't have enough resource: %s, requested: %d, used: %d, capacity: %d",
				name, amount(name, q), amount(name, u), amount(name, have))
		}
	}
	return "", ""
}

func native(name corev1.ResourceName) bool { return !strings.Contains(string(name), "/") }

func sortedNames(l corev1.ResourceList) []corev1.ResourceName {
	order := []corev1.ResourceName{corev1.ResourcePods, corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage}
	var out []corev1.ResourceName
	seen := map[corev1.ResourceName]bool{}
	for _, n := range order {
		seen[n] = true
		if _, ok := l[n]; ok {
			out = append(out, n)
		}
	}
	for n := range l {
		if !seen[n] {
			out = append(out, n)
		}
	}
	return out
}

func amount(name corev1.ResourceName, q resource.Quantity) int64 {
	if name == corev1.ResourceCPU {
		return q.MilliValue()
	}
	return q.Value()
}

type hostPort struct {
	protocol corev1.Protocol
	port     int32
}

func portsClash(p *corev1.Pod, others []*corev1.Pod) bool {
	mine := hostPorts(p)
	if len(mine) == 0 {
		return false
	}
	for _, other := range others {
		for key, ips := range hostPorts(other) {
			for _, a := range ips {
				for _, b := range mine[key] {
					if a == b || a == "0.0.0.0" || b == "0.0.0.0" {
						return true
					}
				}
			}
		}
	}
	return false
}

func hostPorts(p *corev1.Pod) map[hostPort][]string {
	var out map[hostPort][]string
	add := func(cs []corev1.Container, all bool) {
		for i := range cs {
			if !all && !Sidecar(&cs[i]) {
				continue
			}
			for _, port := range cs[i].Ports {
				if port.HostPort == 0 {
					continue
				}
				if out == nil {
					out = map[hostPort][]string{}
				}
				protocol, ip := port.Protocol, port.HostIP
				if protocol == "" {
					protocol = corev1.ProtocolTCP
				}
				if ip == "" || ip == "::" {
					ip = "0.0.0.0"
				}
				key := hostPort{protocol, port.HostPort}
				out[key] = append(out[key], ip)
			}
		}
	}
	add(p.Spec.Containers, true)
	add(p.Spec.InitContainers, false)
	return out
}
