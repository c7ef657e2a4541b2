package filter

import "github.com/gantryio/gantry/core/scheduler/snapshot"

// NodePorts keeps a pod off nodes where one of its host ports is taken.
type NodePorts struct{}

var _ Filter = NodePorts{}

var portTaken = []Reason{{Text: "node(s) didn't have free ports for the requested pod ports"}}

// Name implements Filter.
func (NodePorts) Name() string { return "NodePorts" }

// Check implements Filter.
func (NodePorts) Check(p *snapshot.Pod, n *snapshot.Node) []Reason {
	for _, want := range p.Ports {
		for taken := range n.Ports {
			if want.Conflicts(taken) {
				return portTaken
			}
		}
	}
	return nil
}
