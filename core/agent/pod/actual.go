package pod

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// Below these the kernel makes no difference, and so the API shows what was asked for.
const (
	minCPURequest = 2
	minCPULimit   = 10
)

// actual is how much a container has: of one that runs what the runtime says, of others what they were granted.
func actual(c *corev1.Container, have *Container) *corev1.ResourceRequirements {
	out := c.Resources.DeepCopy()
	if have.State != Running {
		return out
	}
	is := have.Size
	if a := have.Actual; a != nil {
		is.CPURequest, is.CPULimit, is.MemoryLimit = or(a.CPURequest, is.CPURequest), or(a.CPULimit, is.CPULimit), or(a.MemoryLimit, is.MemoryLimit)
	}
	show(out.Limits, corev1.ResourceCPU, is.CPULimit, minCPULimit)
	show(out.Limits, corev1.ResourceMemory, is.MemoryLimit, 0)
	show(out.Requests, corev1.ResourceCPU, is.CPURequest, minCPURequest)
	show(out.Requests, corev1.ResourceMemory, is.MemoryRequest, 0)
	return out
}

// or is a, unless it is unknown.
func or(a, b int64) int64 {
	if a > 0 {
		return a
	}
	return b
}

// show puts a value into a list of what was granted, unless it is the same or of no effect.
func show(list corev1.ResourceList, name corev1.ResourceName, value, least int64) {
	if list == nil || value == 0 {
		return
	}
	have := list[name]
	granted := amount(name, have)
	if value == granted || value <= least && granted <= least {
		return
	}
	if name == corev1.ResourceCPU {
		list[name] = *resource.NewMilliQuantity(value, resource.DecimalSI)
	} else {
		list[name] = *resource.NewQuantity(value, resource.BinarySI)
	}
}

// wholeSize is how much a pod that has resources of its own has.
func wholeSize(p *corev1.Pod, o *Observed) *corev1.ResourceRequirements {
	if b := o.Resize.Before; o.Resize.Outdated && b != nil {
		return b.DeepCopy()
	}
	out := p.Spec.Resources.DeepCopy()
	out.Claims = nil
	for name, q := range requests(p) {
		if _, ok := out.Requests[name]; !ok && name == corev1.ResourceMemory {
			if out.Requests == nil {
				out.Requests = corev1.ResourceList{}
			}
			out.Requests[name] = q
		}
	}
	return out
}
