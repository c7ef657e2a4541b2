// Package filter decides which nodes can take a pod. Each filter is a file, with the name and the
// meaning that it has in kube-scheduler. Those of this package look at one node only, which is what lets
// the scheduler remember their answers until that node changes; inter-pod affinity and topology
// spreading, which look at all nodes, are in the package place.
package filter

import (
	"slices"

	"github.com/gantryio/gantry/core/scheduler/snapshot"
)

// Reason is why a node cannot take a pod.
type Reason struct {
	Text string
	// Final tells that no preemption on the node can change that.
	Final bool
}

// Filter judges one node for one pod.
type Filter interface {
	Name() string
	// Check returns why the pod cannot run on the node, nothing when it can. It changes neither.
	Check(p *snapshot.Pod, n *snapshot.Node) []Reason
}

// Blocker is a filter that can tell before any node is looked at that a pod cannot be placed.
type Blocker interface {
	// Block says why the pod cannot run on any node, "" when it may.
	Block(p *snapshot.Pod) string
}

// Block asks the filters in order; the first that refuses ends it.
func Block(filters []Filter, p *snapshot.Pod) string {
	for _, f := range filters {
		if b, ok := f.(Blocker); ok {
			if why := b.Block(p); why != "" {
				return why
			}
		}
	}
	return ""
}

// Relevant are the filters that have anything to say about the pod: those about volumes are left out when it has none.
func Relevant(filters []Filter, p *snapshot.Pod) []Filter {
	if p.HasVolumes() {
		return filters
	}
	return slices.DeleteFunc(slices.Clone(filters), func(f Filter) bool {
		switch f.(type) {
		case VolumeRestrictions, NodeVolumeLimits, VolumeBinding, VolumeZone:
			return true
		}
		return false
	})
}

// Check asks the filters in order; the first that refuses ends it.
func Check(filters []Filter, p *snapshot.Pod, n *snapshot.Node) []Reason {
	for _, f := range filters {
		if why := f.Check(p, n); len(why) > 0 {
			return why
		}
	}
	return nil
}

func final(text string) []Reason { return []Reason{{Text: text, Final: true}} }
