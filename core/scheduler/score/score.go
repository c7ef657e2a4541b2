// Package score says how well a node suits a pod. Each score is a file, with the name and the meaning
// that it has in kube-scheduler. Some are final when one node is known; others give a raw number, which is
// scaled by those of all nodes that fit (in the package place).
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

// Sum is the weighted sum of the scores.
func Sum(scores []Weighted, p *snapshot.Pod, n *snapshot.Node) int64 {
	sum := int64(0)
	for _, s := range scores {
		sum += s.Weight * s.Score.Score(p, n)
	}
	return sum
}

// Scaled brings a raw number to 0..Max by the largest one.
func Scaled(raw, largest int64) int64 {
	if largest == 0 {
		return 0
	}
	return Max * raw / largest
}
