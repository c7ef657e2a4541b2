package filter

import (
	"slices"

	"github.com/gantryio/gantry/core/scheduler/snapshot"
)

// NodeResourcesFit keeps a pod off nodes that have not enough left of what it requests.
type NodeResourcesFit struct{}

var _ Filter = NodeResourcesFit{}

// Name implements Filter.
func (NodeResourcesFit) Name() string { return "NodeResourcesFit" }

// Check implements Filter.
func (NodeResourcesFit) Check(p *snapshot.Pod, n *snapshot.Node) []string {
	var why []string
	if int64(len(n.Pods))+1 > n.MaxPods {
		why = append(why, "Too many pods")
	}
	want, used, all := &p.Requests, &n.Requested, &n.Allocatable
	if want.MilliCPU > 0 && want.MilliCPU > all.MilliCPU-used.MilliCPU {
		why = append(why, "Insufficient cpu")
	}
	if want.Memory > 0 && want.Memory > all.Memory-used.Memory {
		why = append(why, "Insufficient memory")
	}
	if want.Ephemeral > 0 && want.Ephemeral > all.Ephemeral-used.Ephemeral {
		why = append(why, "Insufficient ephemeral-storage")
	}
	if len(want.Other) == 0 {
		return why
	}
	base := len(why)
	for name, amount := range want.Other {
		if amount > 0 && amount > all.Other[name]-used.Other[name] {
			why = append(why, "Insufficient "+string(name))
		}
	}
	slices.Sort(why[base:])
	return why
}
