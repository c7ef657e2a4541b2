package scheduler

import (
	"container/heap"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/gantryio/gantry/core/scheduler/filter"
	"github.com/gantryio/gantry/core/scheduler/score"
	"github.com/gantryio/gantry/core/scheduler/snapshot"
)

// class is all pods that are placed alike. It remembers what every node means for them, and evaluates
// again only nodes that changed since: a thousand equal pods cost about one evaluation of all nodes.
type class struct {
	pod      *snapshot.Pod
	cursor   int64
	started  bool
	verdicts []verdict // by index of the node
	fits     ranking
	reasons  map[string]int // of the nodes that do not fit
	// waiting are the pods that fit nowhere.
	waiting map[types.UID]*item
	queued  int // pods in the active queue
	used    int64
}

// verdict is what a node means for a class.
type verdict struct {
	node  *snapshot.Node // nil where there is none
	why   []string
	score int64
	place int // in the ranking, -1 when the node does not fit
}

func newClass(p *snapshot.Pod) *class {
	return &class{pod: p, reasons: map[string]int{}, waiting: map[types.UID]*item{}}
}

// refresh evaluates the nodes that changed.
func (c *class) refresh(cl *snapshot.Cluster) {
	for len(c.verdicts) < len(cl.Nodes) {
		c.verdicts = append(c.verdicts, verdict{place: -1})
	}
	c.fits.verdicts = c.verdicts
	changed, now, known := cl.Since(c.cursor)
	c.cursor = now
	if !known || !c.started || len(changed) > len(cl.Nodes) {
		c.started = true
		for i := range cl.Nodes {
			c.evaluate(i, cl.Nodes[i])
		}
		return
	}
	for _, i := range changed {
		c.evaluate(i, cl.Nodes[i])
	}
}

func (c *class) evaluate(i int, n *snapshot.Node) {
	v := &c.verdicts[i]
	for _, why := range v.why {
		if c.reasons[why]--; c.reasons[why] == 0 {
			delete(c.reasons, why)
		}
	}
	v.node, v.why = n, nil
	fits := false
	if n != nil {
		v.why = filter.Check(c.pod, n)
		fits = len(v.why) == 0
	}
	for _, why := range v.why {
		c.reasons[why]++
	}
	if fits {
		v.score = score.Sum(c.pod, n)
	}
	switch {
	case fits && v.place >= 0:
		heap.Fix(&c.fits, v.place)
	case fits:
		heap.Push(&c.fits, i)
	case v.place >= 0:
		heap.Remove(&c.fits, v.place)
	}
}

// best is the node with the highest score, the first of equals; nil when none fits.
func (c *class) best() *snapshot.Node {
	if len(c.fits.order) == 0 {
		return nil
	}
	return c.verdicts[c.fits.order[0]].node
}

// message says why no node fits, in kube-scheduler's words.
func (c *class) message(nodes int) string {
	if nodes == 0 {
		return "no nodes available to schedule pods"
	}
	var parts []string
	for why, n := range c.reasons {
		parts = append(parts, fmt.Sprintf("%d %s", n, why))
	}
	slices.Sort(parts)
	return fmt.Sprintf("0/%d nodes are available: %s.", nodes, strings.Join(parts, ", "))
}

// ranking is a heap of the indexes of nodes that fit.
type ranking struct {
	order    []int
	verdicts []verdict
}

var _ heap.Interface = (*ranking)(nil)

func (r *ranking) Len() int { return len(r.order) }

func (r *ranking) Less(a, b int) bool {
	x, y := r.order[a], r.order[b]
	if r.verdicts[x].score != r.verdicts[y].score {
		return r.verdicts[x].score > r.verdicts[y].score
	}
	return x < y
}

func (r *ranking) Swap(a, b int) {
	r.order[a], r.order[b] = r.order[b], r.order[a]
	r.verdicts[r.order[a]].place, r.verdicts[r.order[b]].place = a, b
}

// Push implements heap.Interface.
func (r *ranking) Push(x any) {
	i := x.(int)
	r.verdicts[i].place = len(r.order)
	r.order = append(r.order, i)
}

// Pop implements heap.Interface.
func (r *ranking) Pop() any {
	last := len(r.order) - 1
	i := r.order[last]
	r.order = r.order[:last]
	r.verdicts[i].place = -1
	return i
}
