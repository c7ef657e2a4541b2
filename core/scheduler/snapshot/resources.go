package snapshot

import (
	"maps"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	resourcehelper "k8s.io/component-helpers/resource"
)

// What a container without a request counts for when loads are compared, so that such pods spread too.
const (
	defaultMilliCPU = 100
	defaultMemory   = 200 << 20
)

var nonMissing = corev1.ResourceList{
	corev1.ResourceCPU:    *resource.NewMilliQuantity(defaultMilliCPU, resource.DecimalSI),
	corev1.ResourceMemory: *resource.NewQuantity(defaultMemory, resource.BinarySI),
}

// Resources are amounts: CPU in thousandths of a core, the others in units of the resource.
type Resources struct {
	MilliCPU, Memory, Ephemeral int64
	// Other are all further resources, nil when there are none.
	Other map[corev1.ResourceName]int64
}

func resourcesOf(list corev1.ResourceList) Resources {
	var r Resources
	for name, q := range list {
		r.addQuantity(name, q)
	}
	return r
}

func (r *Resources) addQuantity(name corev1.ResourceName, q resource.Quantity) {
	switch name {
	case corev1.ResourceCPU:
		r.MilliCPU += q.MilliValue()
	case corev1.ResourceMemory:
		r.Memory += q.Value()
	case corev1.ResourceEphemeralStorage:
		r.Ephemeral += q.Value()
	case corev1.ResourcePods:
	default:
		if r.Other == nil {
			r.Other = map[corev1.ResourceName]int64{}
		}
		r.Other[name] += q.Value()
	}
}

// Of is the amount of one resource.
func (r *Resources) Of(name corev1.ResourceName) int64 {
	switch name {
	case corev1.ResourceCPU:
		return r.MilliCPU
	case corev1.ResourceMemory:
		return r.Memory
	case corev1.ResourceEphemeralStorage:
		return r.Ephemeral
	}
	return r.Other[name]
}

func (r *Resources) add(o *Resources, sign int64) {
	r.MilliCPU += sign * o.MilliCPU
	r.Memory += sign * o.Memory
	r.Ephemeral += sign * o.Ephemeral
	for name, n := range o.Other {
		if r.Other == nil {
			r.Other = map[corev1.ResourceName]int64{}
		}
		if r.Other[name] += sign * n; r.Other[name] == 0 {
			delete(r.Other, name)
		}
	}
}

func (r *Resources) equal(o *Resources) bool {
	return r.MilliCPU == o.MilliCPU && r.Memory == o.Memory && r.Ephemeral == o.Ephemeral && maps.Equal(r.Other, o.Other)
}

// RequestsOf sums what a pod asks for, and what it counts for in comparisons of loads. Of a pod that is
// being resized in place the larger of the old and the new size counts.
func RequestsOf(pod *corev1.Pod) (asked, load Resources) {
	if plain(pod) {
		return plainRequests(pod)
	}
	opts := resourcehelper.PodResourcesOptions{UseStatusResources: true, InPlacePodLevelResourcesVerticalScalingEnabled: true}
	asked = resourcesOf(resourcehelper.PodRequests(pod, opts))
	opts.NonMissingContainerRequests = nonMissing
	load = resourcesOf(resourcehelper.PodRequests(pod, opts))
	return asked, load
}

// plain tells that the sum over the containers is all that there is to it.
func plain(pod *corev1.Pod) bool {
	if len(pod.Spec.InitContainers) > 0 || pod.Spec.Resources != nil || pod.Spec.Overhead != nil {
		return false
	}
	for i := range pod.Status.ContainerStatuses {
		if s := &pod.Status.ContainerStatuses[i]; s.Resources != nil && len(s.Resources.Requests) > 0 || len(s.AllocatedResources) > 0 {
			return false
		}
	}
	return true
}

func plainRequests(pod *corev1.Pod) (asked, load Resources) {
	var noCPU, noMemory int64
	for i := range pod.Spec.Containers {
		requests := pod.Spec.Containers[i].Resources.Requests
		for name, q := range requests {
			asked.addQuantity(name, q)
		}
		if _, ok := requests[corev1.ResourceCPU]; !ok {
			noCPU++
		}
		if _, ok := requests[corev1.ResourceMemory]; !ok {
			noMemory++
		}
	}
	load = asked
	load.Other = maps.Clone(asked.Other)
	load.MilliCPU += noCPU * defaultMilliCPU
	load.Memory += noMemory * defaultMemory
	return asked, load
}

// Port is a host port that a pod takes; IP is "0.0.0.0" for all addresses.
type Port struct {
	Protocol corev1.Protocol
	IP       string
	Port     int32
}

// Conflicts tells whether both cannot be had on one node.
func (p Port) Conflicts(o Port) bool {
	return p.Port == o.Port && p.Protocol == o.Protocol && (p.IP == o.IP || p.IP == anyIP || o.IP == anyIP)
}

const anyIP = "0.0.0.0"

// PortsOf lists the host ports of a pod.
func PortsOf(pod *corev1.Pod) []Port {
	var out []Port
	take := func(c *corev1.Container) {
		for _, p := range c.Ports {
			if p.HostPort <= 0 {
				continue
			}
			port := Port{Protocol: p.Protocol, IP: p.HostIP, Port: p.HostPort}
			if port.Protocol == "" {
				port.Protocol = corev1.ProtocolTCP
			}
			if port.IP == "" {
				port.IP = anyIP
			}
			out = append(out, port)
		}
	}
	for i := range pod.Spec.Containers {
		take(&pod.Spec.Containers[i])
	}
	for i := range pod.Spec.InitContainers {
		c := &pod.Spec.InitContainers[i]
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			take(c)
		}
	}
	return out
}
