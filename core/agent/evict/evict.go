// Package evict decides when a node is under pressure and which pod has to go for it, by the kubelet's default hard
// thresholds. It is pure.
package evict

import (
	"fmt"
	"sort"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	resourcehelper "k8s.io/component-helpers/resource"
)

// The hard thresholds, see the docs of node-pressure eviction.
const (
	minMemory       = 100 << 20
	minNodePercent  = 10
	minImagePercent = 15
	minInodePercent = 5
)

// The shares of the image file system above which unused images go, and down to which.
const (
	ImagesHighPercent = 85
	ImagesLowPercent  = 80
)

// Filesystem is how full a file system is.
type Filesystem struct {
	Capacity, Available uint64
	Inodes, InodesFree  uint64
}

func (f Filesystem) below(percent uint64) bool {
	return f.Capacity > 0 && f.Available*100 < f.Capacity*percent
}

func (f Filesystem) inodesBelow(percent uint64) bool {
	return f.Inodes > 0 && f.InodesFree*100 < f.Inodes*percent
}

// UsedAbove tells whether more than so many percent are used.
func (f Filesystem) UsedAbove(percent uint64) bool { return f.below(100 - percent) }

// Signals are what is measured.
type Signals struct {
	MemoryAvailable uint64
	Node, Image     Filesystem
}

// Pressure is what the node is short of.
type Pressure struct {
	Resource corev1.ResourceName
	// Message begins what an evicted pod says.
	Message string
}

// Find tells what the node is short of, nil when of nothing. Memory comes first, since it is gone the soonest.
func Find(s Signals) *Pressure {
	low := func(name corev1.ResourceName, threshold string, available uint64) *Pressure {
		return &Pressure{Resource: name, Message: fmt.Sprintf("The node was low on resource: %s. Threshold quantity: %s, available: %s. ",
			name, threshold, resource.NewQuantity(int64(available), resource.BinarySI))}
	}
	switch {
	case s.MemoryAvailable > 0 && s.MemoryAvailable < minMemory:
		return low(corev1.ResourceMemory, "100Mi", s.MemoryAvailable)
	case s.Node.below(minNodePercent):
		return low(corev1.ResourceEphemeralStorage, "10%", s.Node.Available)
	case s.Image.below(minImagePercent):
		return low(corev1.ResourceEphemeralStorage, "15%", s.Image.Available)
	case s.Node.inodesBelow(minInodePercent):
		return low("inodes", "5%", s.Node.InodesFree)
	}
	return nil
}

// Candidate is a pod that may be evicted.
type Candidate struct {
	Pod *corev1.Pod
	// Used is how much the pod uses of what the node is short of, in bytes.
	Used int64
}

// Rank sorts pods so that the first is the one to evict: one that uses more than it requested before one that does not,
// then by priority, then by how much more. Critical pods are left out.
func Rank(resourceName corev1.ResourceName, in []Candidate) []Candidate {
	out := make([]Candidate, 0, len(in))
	for _, c := range in {
		if priority(c.Pod) < 2000000000 {
			out = append(out, c)
		}
	}
	sort.SliceStable(out, func(i, j int) bool {
		a, b := excess(resourceName, out[i]), excess(resourceName, out[j])
		if (a > 0) != (b > 0) {
			return a > 0
		}
		if x, y := priority(out[i].Pod), priority(out[j].Pod); x != y {
			return x < y
		}
		return a > b
	})
	return out
}

func priority(p *corev1.Pod) int32 {
	if p.Spec.Priority == nil {
		return 0
	}
	return *p.Spec.Priority
}

func excess(name corev1.ResourceName, c Candidate) int64 {
	q := resourcehelper.PodRequests(c.Pod, resourcehelper.PodResourcesOptions{})[name]
	return c.Used - q.Value()
}
