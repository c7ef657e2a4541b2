package place

import (
	"k8s.io/apimachinery/pkg/types"

	"github.com/gantryio/gantry/core/scheduler/filter"
	"github.com/gantryio/gantry/core/scheduler/snapshot"
)

// trial is a node with some pods more or fewer, and what that makes of the class's counters.
type trial struct {
	class *Class
	index int
	node  *snapshot.Node
	delta []int64
}

func (c *Class) newTrial(i int) *trial {
	return &trial{class: c, index: i, node: c.verdicts[i].node.Trial(), delta: make([]int64, len(c.count))}
}

// try adds (1) or takes away (-1) a pod.
func (t *trial) try(p *snapshot.Placed, sign int) {
	t.node.Try(p, sign)
	v := &t.class.verdicts[t.index]
	for k, e := range t.class.effects(p.Shape()) {
		if v.counted[k] {
			t.delta[k] += int64(sign) * e
		}
	}
}

// why says why the node cannot take a pod of the class.
func (t *trial) why() []filter.Reason {
	c, v := t.class, &t.class.verdicts[t.index]
	if len(c.blocked) > 0 {
		return c.blocked
	}
	if len(v.refused) > 0 {
		return v.refused
	}
	if why := filter.Check(c.dynamic, c.Pod, t.node); len(why) > 0 {
		return why
	}
	if why := c.outsideWhy(v, v.node); len(why) > 0 {
		return why
	}
	matched := c.affinitySum()
	for k, n := range c.count {
		if n.kind == affinity {
			matched += t.delta[k]
		}
	}
	why, fits := c.judge(func(k int) int64 {
		if d := v.domains[k]; d >= 0 {
			return c.count[k].domains[d].total + t.delta[k]
		}
		return missing
	}, func(k int) int64 { return c.count[k].least(v.domains[k], t.delta[k]) }, matched)
	if fits {
		return nil
	}
	return []filter.Reason{why}
}

// relevant lists the pods that are nominated for the node and go before a pod of the class.
func (c *Class) relevant(n *snapshot.Node, except types.UID) []*snapshot.Placed {
	var out []*snapshot.Placed
	for _, p := range n.Nominated {
		if p.Priority >= c.Pod.Priority && p.UID != except {
			out = append(out, p)
		}
	}
	return out
}

// withNominated returns a copy of the node with the relevant nominated pods; nil when there are none.
func (c *Class) withNominated(n *snapshot.Node) *snapshot.Node {
	list := c.relevant(n, "")
	if len(list) == 0 {
		return nil
	}
	out := n.Trial()
	for _, p := range list {
		out.Try(p, 1)
	}
	return out
}

// both asks with and without the nominated pods: they may go elsewhere in the end.
func (t *trial) both(except types.UID) []filter.Reason {
	list := t.class.relevant(t.class.verdicts[t.index].node, except)
	if len(list) > 0 {
		for _, p := range list {
			t.try(p, 1)
		}
		why := t.why()
		for _, p := range list {
			t.try(p, -1)
		}
		if len(why) > 0 {
			return why
		}
	}
	return t.why()
}

func (c *Class) onSpecial(b *bucket) (filter.Reason, bool) {
	if why := c.newTrial(b.nodes[0]).both(""); len(why) > 0 {
		return why[0], false
	}
	return filter.Reason{}, true
}

// FitsOn tells whether the node can take the pod of the class that has the UID, leaving aside that room is
// being made for just that pod.
func (c *Class) FitsOn(n *snapshot.Node, uid types.UID) bool {
	return len(c.newTrial(n.Index).both(uid)) == 0
}
