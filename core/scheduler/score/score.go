// Package score says how well a node suits a pod. Each score is a file, with the name and the meaning
// that it has in kube-scheduler where there is such a one. Unlike there no score is scaled by the best of
// all nodes: each looks at one node only, which is what lets the scheduler remember it until that node
// changes.
package score

import "github.com/gantryio/gantry/core/scheduler/snapshot"

// Max is the best score.
const Max = 100

// Score rates one node for one pod.
type Score interface {
	Name() string
	// Score is between 0 and Max, more is better.
	Score(p *snapshot.Pod, n *snapshot.Node) int64
}

// Weighted is a score and how much it counts.
type Weighted struct {
	Score
	Weight int64
}

// All are the scores with kube-scheduler's weights.
var All = []Weighted{
	{NodeResourcesFit{}, 1},
	{NodeResourcesBalancedAllocation{}, 1},
	{TaintToleration{}, 3},
	{NodeAffinity{}, 2},
	{OwnerSpread{}, 2},
	{ImageLocality{}, 1},
}

// Sum is the weighted sum of all scores.
func Sum(p *snapshot.Pod, n *snapshot.Node) int64 {
	sum := int64(0)
	for _, s := range All {
		sum += s.Weight * s.Score.Score(p, n)
	}
	return sum
}
