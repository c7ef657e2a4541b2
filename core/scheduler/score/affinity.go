package score

import "github.com/gantryio/gantry/core/scheduler/snapshot"

// NodeAffinity prefers nodes that match much of the pod's preferred node affinity.
type NodeAffinity struct{}

var _ Score = NodeAffinity{}

// Name implements Score.
func (NodeAffinity) Name() string { return "NodeAffinity" }

// Score implements Score.
func (NodeAffinity) Score(p *snapshot.Pod, n *snapshot.Node) int64 {
	if p.Preferred == nil || p.MaxPreferred == 0 {
		return 0
	}
	return Max * p.Preferred.Score(n.Object) / p.MaxPreferred
}
