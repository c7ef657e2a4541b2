// Package snapshot is what the scheduler knows of nodes and pods, in the form that filters and scores
// compute with: quantities as integers, tolerations and selectors parsed. It is kept by events, never
// rebuilt.
package snapshot

import (
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/component-helpers/resource"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
)

// What a container without a request counts for when loads are compared, so that such pods spread too.
const (
	defaultMilliCPU = 100
	defaultMemory   = 200 << 20
)

// Resources are amounts: CPU in thousandths of a core, the others in units of the resource.
type Resources struct {
	MilliCPU, Memory, Ephemeral int64
	// Other are all further resources, nil when there are none.
	Other map[corev1.ResourceName]int64
}

func resourcesOf(list corev1.ResourceList) Resources {
	var r Resources
	for name, q := range list {
		switch name {
		case corev1.ResourceCPU:
			r.MilliCPU = q.MilliValue()
		case corev1.ResourceMemory:
			r.Memory = q.Value()
		case corev1.ResourceEphemeralStorage:
			r.Ephemeral = q.Value()
		case corev1.ResourcePods:
		default:
			if r.Other == nil {
				r.Other = map[corev1.ResourceName]int64{}
			}
			r.Other[name] = q.Value()
		}
	}
	return r
}

func (r *Resources) add(o *Resources, sign int64) {
	r.MilliCPU += sign * o.MilliCPU
	r.Memory += sign * o.Memory
	r.Ephemeral += sign * o.Ephemeral
	for name, n := range o.Other {
		if r.Other == nil {
			r.Other = map[corev1.ResourceName]int64{}
		}
		r.Other[name] += sign * n
	}
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

// Pod is what placing a pod depends on. Pods with the same Key are placed alike and may share one.
type Pod struct {
	Key      string
	Requests Resources
	// Load is Requests with defaults for containers that request nothing.
	Load        Resources
	Ports       []Port
	Tolerations []corev1.Toleration
	// NodeName is a node that the pod itself asks for, "" for any.
	NodeName string
	Required nodeaffinity.RequiredNodeAffinity
	// Preferred is nil when the pod prefers no node; MaxPreferred is the most that it can score.
	Preferred    *nodeaffinity.PreferredSchedulingTerms
	MaxPreferred int64
	Images       []string
	// Owner is the controller of the pod, or what stands for it; pods of one owner are spread.
	Owner string
}

// key is everything that a Pod is made of.
type key struct {
	Requests, Load Resources
	Ports          []Port               `json:",omitempty"`
	Tolerations    []corev1.Toleration  `json:",omitempty"`
	NodeSelector   map[string]string    `json:",omitempty"`
	NodeAffinity   *corev1.NodeAffinity `json:",omitempty"`
	Images         []string
	Owner          string
	NodeName       string `json:",omitempty"`
}

// PodOf digests a pod.
func PodOf(pod *corev1.Pod) (*Pod, error) {
	p := &Pod{Tolerations: pod.Spec.Tolerations, Ports: PortsOf(pod), Owner: ownerOf(pod), NodeName: pod.Spec.NodeName}
	p.Requests, p.Load = RequestsOf(pod)
	var affinity *corev1.NodeAffinity
	if pod.Spec.Affinity != nil {
		affinity = pod.Spec.Affinity.NodeAffinity
	}
	for i := range pod.Spec.Containers {
		p.Images = append(p.Images, pod.Spec.Containers[i].Image)
	}
	text, err := json.Marshal(key{p.Requests, p.Load, p.Ports, p.Tolerations, pod.Spec.NodeSelector, affinity, p.Images, p.Owner, p.NodeName})
	if err != nil {
		return nil, fmt.Errorf("digest pod %s: %w", pod.Name, err)
	}
	p.Key = string(text)
	p.Required = nodeaffinity.GetRequiredNodeAffinity(pod)
	if affinity == nil || len(affinity.PreferredDuringSchedulingIgnoredDuringExecution) == 0 {
		return p, nil
	}
	terms := affinity.PreferredDuringSchedulingIgnoredDuringExecution
	if p.Preferred, err = nodeaffinity.NewPreferredSchedulingTerms(terms); err != nil {
		return nil, fmt.Errorf("parse preferred node affinity of pod %s: %w", pod.Name, err)
	}
	for _, t := range terms {
		p.MaxPreferred += int64(max(0, t.Weight))
	}
	return p, nil
}

func ownerOf(pod *corev1.Pod) string {
	if ref := metav1.GetControllerOfNoCopy(pod); ref != nil {
		return string(ref.UID)
	}
	return ""
}

// RequestsOf sums what a pod asks for, and what it counts for in comparisons of loads.
func RequestsOf(pod *corev1.Pod) (asked, load Resources) {
	asked = resourcesOf(resource.PodRequests(pod, resource.PodResourcesOptions{}))
	load = resourcesOf(resource.PodRequests(pod, resource.PodResourcesOptions{NonMissingContainerRequests: nonMissing}))
	return asked, load
}

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

// Placed is a pod on a node.
type Placed struct {
	UID      types.UID
	Node     string
	Requests Resources
	Load     Resources
	Ports    []Port
	Owner    string
}

// PlacedOf digests a pod that is or will be on the node.
func PlacedOf(pod *corev1.Pod, node string) *Placed {
	asked, load := RequestsOf(pod)
	return &Placed{UID: pod.UID, Node: node, Requests: asked, Load: load, Ports: PortsOf(pod), Owner: ownerOf(pod)}
}
