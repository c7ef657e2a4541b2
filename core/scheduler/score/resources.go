package score

import (
	"math"

	"github.com/gantryio/gantry/core/scheduler/snapshot"
)

// NodeResourcesFit prefers nodes of which little is requested (kube-scheduler's LeastAllocated).
type NodeResourcesFit struct{}

var _ Score = NodeResourcesFit{}

// Name implements Score.
func (NodeResourcesFit) Name() string { return "NodeResourcesFit" }

// Score implements Score.
func (NodeResourcesFit) Score(p *snapshot.Pod, n *snapshot.Node) int64 {
	return (left(p.Load.MilliCPU+n.Load.MilliCPU, n.Allocatable.MilliCPU) + left(p.Load.Memory+n.Load.Memory, n.Allocatable.Memory)) / 2
}

func left(used, all int64) int64 {
	if all == 0 || used > all {
		return 0
	}
	return int64(float64(all-used) / float64(all) * Max)
}

// NodeResourcesBalancedAllocation prefers nodes where CPU and memory are used to the same degree.
type NodeResourcesBalancedAllocation struct{}

var _ Score = NodeResourcesBalancedAllocation{}

// Name implements Score.
func (NodeResourcesBalancedAllocation) Name() string { return "NodeResourcesBalancedAllocation" }

// Score implements Score.
func (NodeResourcesBalancedAllocation) Score(p *snapshot.Pod, n *snapshot.Node) int64 {
	cpu := share(p.Requests.MilliCPU+n.Requested.MilliCPU, n.Allocatable.MilliCPU)
	memory := share(p.Requests.Memory+n.Requested.Memory, n.Allocatable.Memory)
	return int64((1 - math.Abs(cpu-memory)/2) * Max)
}

func share(used, all int64) float64 {
	if all == 0 {
		return 1
	}
	return min(1, float64(used)/float64(all))
}
