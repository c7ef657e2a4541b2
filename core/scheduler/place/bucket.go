package place

import (
	"container/heap"
	"encoding/binary"
	"math"

	"github.com/gantryio/gantry/core/scheduler/filter"
	"github.com/gantryio/gantry/core/scheduler/score"
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
	m, n := b.nodes[x], b.nodes[y]
	if s, t := b.class.verdicts[m].score, b.class.verdicts[n].score; s != t {
		return s > t
	}
	return m < n
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

// scale is what raw scores are scaled by: the extremes among all nodes that fit.
type scale struct {
	taints, prefers         int64
	leastSpread, mostSpread int64
	leastPrefer, mostPrefer int64
	spreads                 bool
	weights                 []float64 // by counter, of soft constraints
}

// measure finds the scale after a scan in which fits nodes fit.
func (c *Class) measure(fits int) scale {
	s := scale{leastSpread: math.MaxInt64, leastPrefer: math.MaxInt64, mostPrefer: math.MinInt64}
	s.weights = c.spreadWeights(fits, &s)
	for _, b := range c.list {
		if !b.fits {
			continue
		}
		s.taints, s.prefers = max(s.taints, b.taints), max(s.prefers, b.prefers)
		b.prefer, b.spread = 0, -1
		raw, ignored := 0.0, false
		for k, n := range c.count {
			at := b.number(k, n)
			switch {
			case n.kind == preference && at != missing:
				b.prefer += at
			case n.kind == softSpread && at != missing:
				raw += float64(at)*s.weights[k] + float64(n.spread.MaxSkew-1)
			case n.kind == softSpread:
				ignored = ignored || !c.Pod.Lenient
			}
		}
		if s.spreads && !ignored {
			b.spread = int64(math.Round(raw))
			s.leastSpread, s.mostSpread = min(s.leastSpread, b.spread), max(s.mostSpread, b.spread)
		}
		s.leastPrefer, s.mostPrefer = min(s.leastPrefer, b.prefer), max(s.mostPrefer, b.prefer)
	}
	return s
}

// spreadWeights are the logarithms by which constraints with many domains count more.
func (c *Class) spreadWeights(fits int, s *scale) []float64 {
	for _, n := range c.count {
		s.spreads = s.spreads || n.kind == softSpread
	}
	if !s.spreads {
		return nil
	}
	c.scans++
	sizes, ignored := make([]int, len(c.count)), 0
	for _, b := range c.list {
		if !b.fits {
			continue
		}
		if !c.Pod.Lenient && b.lacksSoft() {
			ignored += len(b.nodes)
			continue
		}
		for k, n := range c.count {
			if n.kind != softSpread || n.narrow {
				continue
			}
			if b.at[k] == missing {
				sizes[k] |= 1 << 32 // the domain of nodes without the label
			} else if d := &n.domains[b.at[k]]; d.seen != c.scans {
				d.seen = c.scans
				sizes[k]++
			}
		}
	}
	weights := make([]float64, len(c.count))
	for k, n := range c.count {
		size := sizes[k]&(1<<32-1) + sizes[k]>>32
		if n.narrow {
			size = fits - ignored
		}
		weights[k] = math.Log(float64(size + 2))
	}
	return weights
}

func (b *bucket) lacksSoft() bool {
	for k, n := range b.class.count {
		if n.kind == softSpread && b.at[k] == missing {
			return true
		}
	}
	return false
}

// shared is the part of the score that all nodes of a bucket have in common.
func (c *Class) shared(b *bucket, s *scale) int64 {
	p := c.profile
	sum := p.AffinityWeight * score.Scaled(b.prefers, s.prefers)
	sum += p.TaintWeight * (score.Max - score.Scaled(b.taints, s.taints))
	if len(b.sizes) > 0 {
		sum += p.ImageWeight * score.Images(b.sizes, func(i int) int { return c.cluster.Holders(c.Pod.Images[i]) }, c.cluster.Len(), c.Pod.Containers)
	}
	if s.spreads && b.spread >= 0 {
		spread := int64(score.Max)
		if s.mostSpread > 0 {
			spread = score.Max * (s.mostSpread + s.leastSpread - b.spread) / s.mostSpread
		}
		sum += p.SpreadWeight * spread
	}
	if between := s.mostPrefer - s.leastPrefer; between > 0 {
		sum += p.InterPodWeight * int64(score.Max*(float64(b.prefer-s.leastPrefer)/float64(between)))
	}
	return sum
}

// Best is the node with the highest score, the first of equals, and that score; nil when none fits.
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
		if sum := c.verdicts[i].score + c.shared(b, &s); best < 0 || sum > most || sum == most && i < best {
			best, most = i, sum
		}
	}
	return c.verdicts[best].node, most
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
