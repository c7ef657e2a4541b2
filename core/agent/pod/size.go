package pod

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// Size is how much cpu and memory a container is given, in thousandths of a CPU and in bytes; 0 is none, or no limit.
type Size struct {
	CPURequest    int64 `json:"cpuRequest,omitempty"`
	CPULimit      int64 `json:"cpuLimit,omitempty"`
	MemoryRequest int64 `json:"memoryRequest,omitempty"`
	MemoryLimit   int64 `json:"memoryLimit,omitempty"`
}

// SizeOf is what a container of a pod is to be given. One without a limit has that of its pod.
func SizeOf(p *corev1.Pod, c *corev1.Container) Size {
	limits := c.Resources.Limits
	cpu, memory := limits[corev1.ResourceCPU], limits[corev1.ResourceMemory]
	if p.Spec.Resources != nil && cpu.IsZero() {
		cpu = p.Spec.Resources.Limits[corev1.ResourceCPU]
	}
	if p.Spec.Resources != nil && memory.IsZero() {
		memory = p.Spec.Resources.Limits[corev1.ResourceMemory]
	}
	return Size{
		CPURequest: c.Resources.Requests.Cpu().MilliValue(), CPULimit: cpu.MilliValue(),
		MemoryRequest: c.Resources.Requests.Memory().Value(), MemoryLimit: memory.Value(),
	}
}

// Resources is the size in the API's form.
func (s Size) Resources() corev1.ResourceRequirements {
	return corev1.ResourceRequirements{
		Requests: corev1.ResourceList{
			corev1.ResourceCPU:    *resource.NewMilliQuantity(s.CPURequest, resource.DecimalSI),
			corev1.ResourceMemory: *resource.NewQuantity(s.MemoryRequest, resource.BinarySI),
		},
		Limits: corev1.ResourceList{
			corev1.ResourceCPU:    *resource.NewMilliQuantity(s.CPULimit, resource.DecimalSI),
			corev1.ResourceMemory: *resource.NewQuantity(s.MemoryLimit, resource.BinarySI),
		},
	}
}

// differs tells which resources two sizes differ in.
func (s Size) differs(o Size) (cpu, memory bool) {
	return s.CPURequest != o.CPURequest || s.CPULimit != o.CPULimit, s.MemoryRequest != o.MemoryRequest || s.MemoryLimit != o.MemoryLimit
}

// With is the size with the cpu or the memory of another one.
func (s Size) With(name corev1.ResourceName, o Size) Size {
	if name == corev1.ResourceCPU {
		s.CPURequest, s.CPULimit = o.CPURequest, o.CPULimit
	} else {
		s.MemoryRequest, s.MemoryLimit = o.MemoryRequest, o.MemoryLimit
	}
	return s
}

// Grant is what the node has accepted that a pod takes, to be written down.
type Grant struct {
	Pod        *corev1.ResourceRequirements           `json:"pod,omitempty"`
	Containers map[string]corev1.ResourceRequirements `json:"containers,omitempty"`
}

// GrantOf is what a pod's spec asks for; nil when it asks for nothing.
func GrantOf(p *corev1.Pod) *Grant {
	g := &Grant{Pod: p.Spec.Resources}
	for _, list := range [][]corev1.Container{p.Spec.InitContainers, p.Spec.Containers} {
		for i := range list {
			r := list[i].Resources
			if len(r.Requests) == 0 && len(r.Limits) == 0 {
				continue
			}
			if g.Containers == nil {
				g.Containers = map[string]corev1.ResourceRequirements{}
			}
			g.Containers[list[i].Name] = r
		}
	}
	if g.Pod == nil && g.Containers == nil {
		return nil
	}
	return g
}

// Apply is the pod with what it was granted in place of what it asks for.
func (g *Grant) Apply(p *corev1.Pod) *corev1.Pod {
	out := p.DeepCopy()
	out.Spec.Resources = g.Pod.DeepCopy()
	for _, list := range [][]corev1.Container{out.Spec.InitContainers, out.Spec.Containers} {
		for i := range list {
			r := g.Containers[list[i].Name]
			list[i].Resources.Requests, list[i].Resources.Limits = r.Requests.DeepCopy(), r.Limits.DeepCopy()
		}
	}
	return Granted(p, out)
}

// Granted is p with the resources of another version of it, which the node has accepted. It is p itself when they are the same.
func Granted(p, accepted *corev1.Pod) *corev1.Pod {
	if accepted == nil || SameSize(p, accepted) {
		return p
	}
	out := *p
	out.Spec.Resources = accepted.Spec.Resources
	out.Spec.Containers = withResources(p.Spec.Containers, accepted.Spec.Containers)
	out.Spec.InitContainers = withResources(p.Spec.InitContainers, accepted.Spec.InitContainers)
	return &out
}

func withResources(list, from []corev1.Container) []corev1.Container {
	out := make([]corev1.Container, len(list))
	copy(out, list)
	for i := range out {
		if i < len(from) {
			out[i].Resources = from[i].Resources
		}
	}
	return out
}

// SameSize tells whether two versions of a pod ask for the same.
func SameSize(a, b *corev1.Pod) bool {
	if a == b {
		return true
	}
	x, y := a.Spec.Resources, b.Spec.Resources
	if (x == nil) != (y == nil) || x != nil && (!sameList(x.Requests, y.Requests) || !sameList(x.Limits, y.Limits)) {
		return false
	}
	return sameContainers(a.Spec.Containers, b.Spec.Containers) && sameContainers(a.Spec.InitContainers, b.Spec.InitContainers)
}

func sameContainers(a, b []corev1.Container) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !sameList(a[i].Resources.Requests, b[i].Resources.Requests) || !sameList(a[i].Resources.Limits, b[i].Resources.Limits) {
			return false
		}
	}
	return true
}

func sameList(a, b corev1.ResourceList) bool {
	if len(a) != len(b) {
		return false
	}
	for name, q := range a {
		if other, ok := b[name]; !ok || q.Cmp(other) != 0 {
			return false
		}
	}
	return true
}
