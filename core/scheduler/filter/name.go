package filter

import "github.com/gantryio/gantry/core/scheduler/snapshot"

// NodeName keeps a pod that asks for a node by name to that node.
type NodeName struct{}

var _ Filter = NodeName{}

var otherName = final("node(s) didn't match the requested node name")

// Name implements Filter.
func (NodeName) Name() string { return "NodeName" }

// Check implements Filter.
func (NodeName) Check(p *snapshot.Pod, n *snapshot.Node) []Reason {
	if p.NodeName == "" || p.NodeName == n.Object.Name {
		return nil
	}
	return otherName
}
