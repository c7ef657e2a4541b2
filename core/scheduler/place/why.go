package place

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gantryio/gantry/core/scheduler/filter"
)

// Refusals counts why nodes cannot take the pod, after Best has said that none can.
func (c *Class) Refusals() map[string]int {
	out := maps.Clone(c.reasons)
	for _, b := range c.list {
		if !b.fits {
			out[b.why.Text] += len(b.nodes)
		}
	}
	return out
}

// Why says why a node cannot take the pod; nothing when it can.
func (c *Class) Why(i int) []filter.Reason {
	v := &c.verdicts[i]
	if v.bucket == nil {
		return v.why
	}
	if !v.bucket.fits {
		return []filter.Reason{v.bucket.why}
	}
	return nil
}

// Message says in kube-scheduler's words that no node fits.
func Message(nodes int, reasons map[string]int) string {
	if nodes == 0 {
		return "no nodes available to schedule pods"
	}
	parts := make([]string, 0, len(reasons))
	for why, n := range reasons {
		parts = append(parts, fmt.Sprintf("%d %s", n, why))
	}
	slices.Sort(parts)
	return fmt.Sprintf("0/%d nodes are available: %s.", nodes, strings.Join(parts, ", "))
}
