package filter

import (
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"

	"github.com/gantryio/gantry/core/scheduler/snapshot"
)

// NodeAffinity keeps a pod to the nodes that its node selector and its required node affinity select.
type NodeAffinity struct {
	// Added is what all pods of the profile require besides, nil for nothing.
	Added *nodeaffinity.NodeSelector
}

var _ Filter = NodeAffinity{}

var (
	notSelected = final("node(s) didn't match Pod's node affinity/selector")
	notEnforced = final("node(s) didn't match scheduler-enforced node affinity")
)

// Name implements Filter.
func (NodeAffinity) Name() string { return "NodeAffinity" }

// Check implements Filter.
func (f NodeAffinity) Check(p *snapshot.Pod, n *snapshot.Node) []Reason {
	if f.Added != nil && !f.Added.Match(n.Object) {
		return notEnforced
	}
	// Terms that cannot be parsed select nothing, the others of the list still count.
	if ok, _ := p.Required.Match(n.Object); ok {
		return nil
	}
	return notSelected
}
