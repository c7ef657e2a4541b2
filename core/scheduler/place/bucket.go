package place

import (
	"container/heap"
	"encoding/binary"

	"github.com/gantryio/gantry/core/scheduler/filter"
	"github.com/gantryio/gantry/core/scheduler/snapshot"
)

// bucket is the nodes with equal coordinates, a heap by score.
type bucket struct {
	label string
	index int // in the class's list
	nodes []int
	class *Class
	// special is a bucket of one node for which others are nominated.
	special bool

	taints, prefers int64
	sizes           []int64
	at              []int64 // by counter: the domain of a wide one, the number of a narrow one

	// Of the last scan:
	why    filter.Reason
	fits   bool
	spread int64
	prefer int64
}

var _ heap.Interface = (*bucket)(nil)

func (b *bucket) Len() int { return len(b.nodes) }

func (b *bucket) Less(x, y int) bool {
	return b.class.before(b.nodes[x], b.nodes[y])
}

// before orders nodes by score; of equals the one with fewer pods comes first, so that these are even.
func (c *Class) before(i, j int) bool {
	x, y := &c.verdicts[i], &c.verdicts[j]
	if x.score != y.score {
		return x.score > y.score
	}
	return c.fewer(i, j)
}

func (b *bucket) Swap(x, y int) {
	b.nodes[x], b.nodes[y] = b.nodes[y], b.nodes[x]
	b.class.verdicts[b.nodes[x]].place, b.class.verdicts[b.nodes[y]].place = x, y
}

// Push implements heap.Interface.
func (b *bucket) Push(x any) {
	i := x.(int)
	b.class.verdicts[i].place = len(b.nodes)
	b.nodes = append(b.nodes, i)
}

// Pop implements heap.Interface.
func (b *bucket) Pop() any {
	last := len(b.nodes) - 1
	i := b.nodes[last]
	b.nodes = b.nodes[:last]
	return i
}

// stand puts a node into the bucket of its coordinates.
func (c *Class) stand(i int, special bool) {
	v := &c.verdicts[i]
	c.locate(i, special)
	if v.bucket != nil {
		if v.bucket.label == string(c.label) {
			heap.Fix(v.bucket, v.place)
			return
		}
		c.leave(i)
	}
	b := c.buckets[string(c.label)]
	if b == nil {
		b = &bucket{
			label: string(c.label), index: len(c.list), class: c, special: special, taints: v.taints, prefers: v.prefers,
			sizes: append([]int64(nil), v.sizes...), at: append([]int64(nil), c.coordinates...),
		}
		c.buckets[b.label] = b
		c.list = append(c.list, b)
	}
	v.bucket = b
	heap.Push(b, i)
}

func (c *Class) leave(i int) {
	v := &c.verdicts[i]
	b := v.bucket
	if b == nil {
		return
	}
	heap.Remove(b, v.place)
	v.bucket = nil
	if len(b.nodes) > 0 {
		return
	}
	delete(c.buckets, b.label)
	last := len(c.list) - 1
	c.list[b.index] = c.list[last]
	c.list[b.index].index = b.index
	c.list = c.list[:last]
}

// locate computes the coordinates of a node and the label of its bucket.
func (c *Class) locate(i int, special bool) {
	v := &c.verdicts[i]
	c.coordinates = c.coordinates[:0]
	for k, n := range c.count {
		d := v.domains[k]
		switch {
		case d < 0:
			c.coordinates = append(c.coordinates, missing)
		case !n.narrow:
			c.coordinates = append(c.coordinates, int64(d))
		case n.kind == softSpread:
			c.coordinates = append(c.coordinates, v.adds[k])
		default:
			c.coordinates = append(c.coordinates, n.domains[d].total)
		}
	}
	label := c.label[:0]
	label = binary.AppendVarint(label, v.taints)
	label = binary.AppendVarint(label, v.prefers)
	label = binary.AppendVarint(label, int64(len(v.sizes)))
	for _, size := range v.sizes {
		label = binary.AppendVarint(label, size)
	}
	for _, at := range c.coordinates {
		label = binary.AppendVarint(label, at)
	}
	if special {
		label = binary.AppendVarint(append(label, '!'), int64(i))
	}
	c.label = label
}

// number is what the counter says of the bucket's nodes.
func (b *bucket) number(k int, n *counter) int64 {
	if b.at[k] == missing || n.narrow {
		return b.at[k]
	}
	return n.domains[b.at[k]].total
}

// scan judges all buckets and returns how many nodes fit.
func (c *Class) scan() int {
	fits := 0
	var few [8]int64
	least := few[:0]
	for _, n := range c.count {
		l := int64(0)
		if n.kind == hardSpread {
			l = n.least(-1, 0)
		}
		least = append(least, l)
	}
	for _, b := range c.list {
		if b.special {
			b.why, b.fits = c.onSpecial(b)
		} else {
			b.why, b.fits = c.judge(func(k int) int64 { return b.number(k, c.count[k]) }, func(k int) int64 { return least[k] }, c.affinitySum())
		}
		if b.fits {
			fits += len(b.nodes)
		}
	}
	return fits
}

func (c *Class) affinitySum() int64 {
	sum := int64(0)
	for _, n := range c.count {
		if n.kind == affinity {
			sum += n.sum
		}
	}
	return sum
}

const (
	offSpread   = "node(s) didn't match pod topology spread constraints"
	noKey       = offSpread + " (missing required label)"
	offAffinity = "node(s) didn't match pod affinity rules"
	offAnti     = "node(s) didn't match pod anti-affinity rules"
	offExisting = "node(s) didn't satisfy existing pods anti-affinity rules"
)

// judge checks the numbers of a node against hard constraints. matched is how many pods anywhere match
// the required affinity.
func (c *Class) judge(number, least func(k int) int64, matched int64) (filter.Reason, bool) {
	lonely := false
	for k, n := range c.count {
		at := number(k)
		switch n.kind {
		case hardSpread:
			if at == missing {
				return filter.Reason{Text: noKey, Final: true}, false
			}
			if at+n.spread.Self-least(k) > n.spread.MaxSkew {
				return filter.Reason{Text: offSpread}, false
			}
		case affinity:
			if at == missing {
				return filter.Reason{Text: offAffinity, Final: true}, false
			}
			lonely = lonely || at <= 0
		}
	}
	if lonely && (matched > 0 || !c.ownKind()) {
		return filter.Reason{Text: offAffinity, Final: true}, false
	}
	text := ""
	for k, n := range c.count {
		if n.kind == antiAffinity && number(k) > 0 {
			return filter.Reason{Text: offAnti}, false
		}
		if n.kind == existingAnti && number(k) > 0 {
			text = offExisting
		}
	}
	return filter.Reason{Text: text}, text == ""
}

// ownKind tells that the pod matches its own required affinity: the first of a group may go anywhere.
func (c *Class) ownKind() bool {
	for _, t := range c.Pod.Terms {
		if t.Kind == snapshot.RequiredAffinity && !c.isMeant(t) {
			return false
		}
	}
	return true
}

// Best is the node with the highest score, of equals one with few pods, and that score; nil when none fits.
// The class must have been refreshed.
func (c *Class) Best() (*snapshot.Node, int64) {
	fits := c.scan()
	if fits == 0 {
		return nil, 0
	}
	s := c.measure(fits)
	best, most := -1, int64(0)
	for _, b := range c.list {
		if !b.fits {
			continue
		}
		i := b.nodes[0]
		sum := c.verdicts[i].score + c.shared(b, &s)
		if best < 0 || sum > most || sum == most && c.fewer(i, best) {
			best, most = i, sum
		}
	}
	return c.verdicts[best].node, most
}

// fewer tells that node i comes before node j when all scores are equal.
func (c *Class) fewer(i, j int) bool {
	if x, y := c.verdicts[i].pods, c.verdicts[j].pods; x != y {
		return x < y
	}
	return i < j
}

// Fits tells whether any node can take a pod of the class.
func (c *Class) Fits() bool { return c.scan() > 0 }

// Candidate is a node that fits.
type Candidate struct {
	Node  *snapshot.Node
	Score int64
}

// All lists the nodes that fit, in no order.
func (c *Class) All() []Candidate {
	fits := c.scan()
	if fits == 0 {
		return nil
	}
	s := c.measure(fits)
	out := make([]Candidate, 0, fits)
	for _, b := range c.list {
		if !b.fits {
			continue
		}
		shared := c.shared(b, &s)
		for _, i := range b.nodes {
			out = append(out, Candidate{c.verdicts[i].node, c.verdicts[i].score + shared})
		}
	}
	return out
}
