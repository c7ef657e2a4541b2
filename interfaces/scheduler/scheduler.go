// Package scheduler is the contract of scheduler plugins: filters and scores that run in a process of
// their own. It is made for few calls: a plugin is asked about many nodes at once, for a class of pods
// that are placed alike, and its answers are remembered until the nodes change.
package scheduler

import (
	"context"
	"time"
)

// MaxScore is the best score.
const MaxScore = 100

// Judge decides which nodes can take a pod, and how well they suit it.
type Judge interface {
	// Describe tells how the plugin wants to be asked; it is called once, before anything else.
	Describe(ctx context.Context) (Description, error)
	// Judge returns a verdict for each node, in their order. Equal questions get equal answers: the
	// scheduler remembers them. ctx has the deadline of the description.
	Judge(ctx context.Context, pod Pod, nodes []Node) ([]Verdict, error)
}

// Description is how a plugin wants to be asked.
type Description struct {
	// Usage is set when verdicts depend on Requested and Pods of nodes: the plugin is then asked again
	// whenever pods come or go. Otherwise only when the node object changes.
	Usage bool
	// FailOpen is set when pods are to be scheduled as if the plugin did not exist while it does not
	// answer. Otherwise they wait.
	FailOpen bool
	// Deadline bounds a call; 0 is DefaultDeadline.
	Deadline time.Duration
}

// DefaultDeadline bounds the calls of plugins that do not say otherwise.
const DefaultDeadline = time.Second

// Pod stands for all pods of a class: their labels, annotations and specs are equal.
type Pod struct {
	Namespace           string
	Labels, Annotations map[string]string
	// Requests are in units of each resource, CPU in thousandths of a core.
	Requests map[string]int64
	Priority int32
	// Spec is a v1.PodSpec in protobuf.
	Spec []byte
}

// Node is a node and what its pods request of it.
type Node struct {
	Name                   string
	Labels, Annotations    map[string]string
	Allocatable, Requested map[string]int64
	// Pods is how many pods it has.
	Pods int64
}

// Verdict is what a node means for a pod.
type Verdict struct {
	// Refusal is why the node cannot take the pod, "" when it can; it is shown to people, after a number
	// of nodes: "node(s) had no licence".
	Refusal string
	// Score is between 0 and MaxScore, more is better.
	Score int64
}
