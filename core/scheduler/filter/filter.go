// Package filter decides which nodes can take a pod. Each filter is a file, with the name and the
// meaning that it has in kube-scheduler; all look at one node only, which is what lets the scheduler
// remember their answers until that node changes.
package filter

import "github.com/gantryio/gantry/core/scheduler/snapshot"

// Filter judges one node for one pod.
type Filter interface {
	Name() string
	// Check returns why the pod cannot run on the node, nothing when it can. It changes neither.
	Check(p *snapshot.Pod, n *snapshot.Node) []string
}

// All are the filters in the order in which they are asked; the first that refuses ends it.
var All = []Filter{NodeUnschedulable{}, NodeName{}, TaintToleration{}, NodeAffinity{}, NodePorts{}, NodeResourcesFit{}}

// Check asks all filters.
func Check(p *snapshot.Pod, n *snapshot.Node) []string {
	for _, f := range All {
		if why := f.Check(p, n); len(why) > 0 {
			return why
		}
	}
	return nil
}
