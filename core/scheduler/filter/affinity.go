package filter

import "github.com/gantryio/gantry/core/scheduler/snapshot"

// NodeAffinity keeps a pod to the nodes that its node selector and its required node affinity select.
type NodeAffinity struct{}

var _ Filter = NodeAffinity{}

var notSelected = []string{"node(s) didn't match Pod's node affinity/selector"}

// Name implements Filter.
func (NodeAffinity) Name() string { return "NodeAffinity" }

// Check implements Filter.
func (NodeAffinity) Check(p *snapshot.Pod, n *snapshot.Node) []string {
	// Terms that cannot be parsed select nothing, the others of the list still count.
	if ok, _ := p.Required.Match(n.Object); ok {
		return nil
	}
	return notSelected
}
