// Package place decides: it keeps, for each class of pods that are placed alike, what every node means to
// it, and says which node is best, why the others cannot take the pod, and whom to preempt. It exists
// because most of a decision is the same as the one before it: only nodes that changed since are looked
// at again, and a thousand equal pods cost about one evaluation of all nodes.
//
// Filters and scores that look at one node are remembered with the node. Those that look at all nodes
// (inter-pod affinity, topology spreading, scores that are scaled by the best) depend on a node only
// through a few numbers, its coordinates: the domain that it is in, how many pods of a kind it has, its raw
// scores. Nodes with equal coordinates stand in one bucket, ordered by the rest of their score; a decision
// looks at the buckets, of which there are few, and at the first node of each.
package place

import (
	"time"

	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"

	"github.com/gantryio/gantry/core/scheduler/filter"
	"github.com/gantryio/gantry/core/scheduler/score"
	"github.com/gantryio/gantry/core/scheduler/snapshot"
)

// Profile is how the pods of one schedulerName are placed. Weights of 0 leave a score out.
type Profile struct {
	Name string
	// Static filters look at the node object alone, Dynamic ones at the node's pods too.
	Static, Dynamic []filter.Filter
	// Scores are those that need no scaling.
	Scores                                                                 []score.Weighted
	TaintWeight, AffinityWeight, ImageWeight, SpreadWeight, InterPodWeight int64
	// FilterSpread and FilterInterPod heed hard spread constraints and required inter-pod affinity.
	FilterSpread, FilterInterPod bool
	// AddedPreferred is node affinity that all pods prefer, nil for none.
	AddedPreferred *nodeaffinity.PreferredSchedulingTerms
	// HardWeight is what a required affinity term of a placed pod counts for the pods that it is about;
	// IgnoreExisting leaves placed pods' terms out of the scores of pods that prefer nothing.
	HardWeight     int64
	IgnoreExisting bool
	// Spread are the constraints of pods without their own.
	Spread *snapshot.SpreadDefaults
	// BindTimeout is how long a pod waits for its claims to be bound; 0 when nobody binds claims for pods.
	BindTimeout time.Duration
	// Preempt allows preemption; at least the larger of CandidatePercent and Candidates of the nodes are tried.
	Preempt                      bool
	CandidatePercent, Candidates int
}

// DefaultBindTimeout is kube-scheduler's.
const DefaultBindTimeout = 10 * time.Minute

// Default is kube-scheduler's profile.
func Default(name string) *Profile {
	spread := snapshot.SystemSpread
	return &Profile{
		Name:   name,
		Static: []filter.Filter{filter.NodeUnschedulable{}, filter.NodeName{}, filter.TaintToleration{}, filter.NodeAffinity{}},
		Dynamic: []filter.Filter{
			filter.NodePorts{}, filter.NodeResourcesFit{}, filter.VolumeRestrictions{}, filter.NodeVolumeLimits{}, filter.VolumeBinding{}, filter.VolumeZone{},
		},
		Scores: []score.Weighted{
			{Score: score.NodeResourcesFit{Resources: score.CPUAndMemory, Strategy: score.LeastAllocated}, Weight: 1},
			{Score: score.NodeResourcesBalancedAllocation{Resources: score.CPUAndMemory}, Weight: 1},
		},
		TaintWeight: 3, AffinityWeight: 2, ImageWeight: 1, SpreadWeight: 2, InterPodWeight: 2,
		FilterSpread: true, FilterInterPod: true, HardWeight: 1, Spread: &spread,
		BindTimeout: DefaultBindTimeout,
		Preempt:     true, CandidatePercent: 10, Candidates: 100,
	}
}
