package place

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gantryio/gantry/core/scheduler/filter"
	"github.com/gantryio/gantry/core/scheduler/snapshot"
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

// notPinned is the reason of all nodes but the one that a pod asks for.
const notPinned = "node(s) didn't satisfy plugin(s) [NodeAffinity]"

// Only is the node if it can take a pod of the class that asks for just this one; else it says by reason why
// no node can. The node is nil when there is none of the name.
func (c *Class) Only(n *snapshot.Node) (*snapshot.Node, map[string]int) {
	if n == nil {
		return nil, map[string]int{notPinned: c.cluster.Len()}
	}
	c.scan()
	if c.FitsAt(n) {
		return n, nil
	}
	out := map[string]int{}
	for _, r := range c.Why(n.Index) {
		out[r.Text]++
	}
	if others := c.cluster.Len() - 1; others > 0 {
		out[notPinned] = others
	}
	return nil, out
}

// FitsAt tells whether the node fitted when Best, Only or Fits was called last.
func (c *Class) FitsAt(n *snapshot.Node) bool {
	if n == nil || n.Index >= len(c.verdicts) {
		return false
	}
	b := c.verdicts[n.Index].bucket
	return b != nil && b.fits
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

// Blocked is why no node at all can take the pods, whatever it is like; "" when that is not so.
func (c *Class) Blocked() string {
	if len(c.blocked) == 0 {
		return ""
	}
	return c.blocked[0].Text
}

// Message says in kube-scheduler's words that no node fits the pods of the class.
func (c *Class) Message(nodes int, reasons map[string]int) string {
	if why := c.Blocked(); why != "" && nodes > 0 {
		return fmt.Sprintf("0/%d nodes are available: %s.", nodes, why)
	}
	return Message(nodes, reasons)
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
