package score

import "github.com/gantryio/gantry/core/scheduler/snapshot"

// OwnerSpread prefers nodes with few pods of the same controller. It stands for the default constraints
// of kube-scheduler's PodTopologySpread as far as these are about nodes.
type OwnerSpread struct{}

var _ Score = OwnerSpread{}

// Name implements Score.
func (OwnerSpread) Name() string { return "OwnerSpread" }

// Score implements Score.
func (OwnerSpread) Score(p *snapshot.Pod, n *snapshot.Node) int64 {
	if p.Owner == "" {
		return Max
	}
	return Max / int64(1+n.Owners[p.Owner])
}
