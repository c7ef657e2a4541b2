package place

import (
	"cmp"
	"slices"

	"github.com/gantryio/gantry/core/scheduler/filter"
	"github.com/gantryio/gantry/core/scheduler/snapshot"
)

// Judge is a filter and score from elsewhere: a plugin. Its answers come later than one can wait for
// under a lock, so they are asked for with Unknown, and told with Learn.
type Judge struct {
	Name   string
	Weight int64
	// Usage tells that the answers depend on what the node's pods take, not on the node object alone.
	Usage bool
}

// outside is what a judge said.
type outside struct {
	asked   bool
	version int64
	used    int64 // the cluster's cursor of the question
	why     string
	score   int64
}

// Answer is what a judge says of a node: why it cannot take the pod ("" when it can), and its score.
type Answer struct {
	Why   string
	Score int64
}

// Ask makes the class heed the judges.
func (c *Class) Ask(judges []Judge) {
	c.judges, c.unheard = judges, make([]map[int]bool, len(judges))
	for j := range judges {
		c.unheard[j] = map[int]bool{}
	}
	for i := range c.verdicts {
		c.hear(i)
	}
}

// hear notes of whom a node needs a verdict.
func (c *Class) hear(i int) {
	v := &c.verdicts[i]
	for j := range c.judges {
		if v.node == nil || c.heard(v, j) {
			delete(c.unheard[j], i)
		} else {
			c.unheard[j][i] = true
		}
	}
}

// Unknown lists the nodes of which a judge has not spoken since they changed.
func (c *Class) Unknown(judge int) []*snapshot.Node {
	var out []*snapshot.Node
	for i := range c.unheard[judge] {
		out = append(out, c.verdicts[i].node)
	}
	slices.SortFunc(out, func(a, b *snapshot.Node) int { return cmp.Compare(a.Index, b.Index) })
	return out
}

func (c *Class) heard(v *verdict, judge int) bool {
	if len(v.outside) <= judge {
		return false
	}
	o := &v.outside[judge]
	return o.asked && o.version == v.node.Version && (!c.judges[judge].Usage || o.used == v.node.Changed)
}

// Learn notes a judge's answer of a node as it was at the time of the question.
func (c *Class) Learn(judge int, index int, version, changed int64, a Answer) {
	if index >= len(c.verdicts) {
		return
	}
	v := &c.verdicts[index]
	for len(v.outside) < len(c.judges) {
		v.outside = append(v.outside, outside{})
	}
	v.outside[judge] = outside{asked: true, version: version, used: changed, why: a.Why, score: a.Score}
	c.evaluate(index)
}

func (c *Class) outsideWhy(v *verdict, n *snapshot.Node) []filter.Reason {
	for j := range min(len(c.judges), len(v.outside)) {
		if o := &v.outside[j]; o.asked && o.version == n.Version && o.why != "" {
			return []filter.Reason{{Text: o.why, Final: !c.judges[j].Usage}}
		}
	}
	return nil
}

func (c *Class) outsideScore(v *verdict) int64 {
	sum := int64(0)
	for j := range min(len(c.judges), len(v.outside)) {
		sum += c.judges[j].Weight * v.outside[j].score
	}
	return sum
}
