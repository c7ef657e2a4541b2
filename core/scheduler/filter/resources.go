package filter

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/gantryio/gantry/core/scheduler/snapshot"
)

// NodeResourcesFit keeps a pod off nodes that have not enough left of what it requests.
type NodeResourcesFit struct {
	// Ignored are extended resources, and IgnoredGroups the groups of such, that somebody else looks after.
	Ignored, IgnoredGroups []string
}

var _ Filter = NodeResourcesFit{}

var (
	tooManyPods = Reason{Text: "Too many pods"}
	noCPU       = "Insufficient cpu"
	noMemory    = "Insufficient memory"
	noEphemeral = "Insufficient ephemeral-storage"
)

// Name implements Filter.
func (NodeResourcesFit) Name() string { return "NodeResourcesFit" }

// Check implements Filter.
func (f NodeResourcesFit) Check(p *snapshot.Pod, n *snapshot.Node) []Reason {
	var why []Reason
	if n.Count+1 > n.MaxPods {
		why = append(why, tooManyPods)
	}
	want, used, all := &p.Requests, &n.Requested, &n.Allocatable
	lacks := func(want, used, all int64, text string) {
		if want > 0 && want > all-used {
			why = append(why, Reason{Text: text, Final: want > all})
		}
	}
	lacks(want.MilliCPU, used.MilliCPU, all.MilliCPU, noCPU)
	lacks(want.Memory, used.Memory, all.Memory, noMemory)
	lacks(want.Ephemeral, used.Ephemeral, all.Ephemeral, noEphemeral)
	if len(want.Other) == 0 {
		return why
	}
	base := len(why)
	for name, amount := range want.Other {
		if !f.ignores(name) {
			lacks(amount, used.Other[name], all.Other[name], "Insufficient "+string(name))
		}
	}
	slices.SortFunc(why[base:], func(a, b Reason) int { return strings.Compare(a.Text, b.Text) })
	return why
}

func (f NodeResourcesFit) ignores(name corev1.ResourceName) bool {
	group, _, extended := strings.Cut(string(name), "/")
	return extended && (slices.Contains(f.Ignored, string(name)) || slices.Contains(f.IgnoredGroups, group))
}
