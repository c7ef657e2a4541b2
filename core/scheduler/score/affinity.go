package score

import (
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"

	"github.com/gantryio/gantry/core/scheduler/snapshot"
)

// Affinity sums the weights of the preferred node affinity terms that select the node: the pod's, and
// those that all pods of the profile have besides. NodeAffinity prefers nodes with a large sum.
func Affinity(p *snapshot.Pod, added *nodeaffinity.PreferredSchedulingTerms, n *snapshot.Node) int64 {
	sum := int64(0)
	if added != nil {
		sum += added.Score(n.Object)
	}
	if p.Preferred != nil {
		sum += p.Preferred.Score(n.Object)
	}
	return sum
}
