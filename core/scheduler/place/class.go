package place

import (
	"slices"

	"github.com/gantryio/gantry/core/scheduler/filter"
	"github.com/gantryio/gantry/core/scheduler/score"
	"github.com/gantryio/gantry/core/scheduler/snapshot"
)

// Class is all pods that are placed alike, and what every node means to them. It is not safe for
// concurrent use.
type Class struct {
	Pod     *snapshot.Pod
	profile *Profile
	dynamic []filter.Filter // those of the profile that are about the pod
	cluster *snapshot.Cluster

	cursor       int64
	started      bool
	epoch, terms int64
	verdicts     []verdict // by index of the node
	count        []*counter
	memo         map[*snapshot.Shape][]int64
	buckets      map[string]*bucket
	list         []*bucket
	reasons      map[string]int // of the nodes that stand in no bucket
	judges       []Judge
	unheard      []map[int]bool // by judge: nodes of which it has not spoken
	scans        int64
	// fruitless is the cursor at which preemption was in vain, for the reasons inVain.
	fruitless int64
	inVain    map[string]int
	// blocked is why no node at all can take the pod for now, which its volumes decide; stamp is their state.
	blocked     []filter.Reason
	stamp       []int64
	offset      int // where the search for preemption's candidates begins
	dry         []dryRun
	coordinates []int64
	label       []byte
}

// verdict is what a node means for a class.
type verdict struct {
	node    *snapshot.Node // nil where there is none
	version int64
	// Of the node object:
	refused         []filter.Reason
	affinity        bool // node selector and required affinity hold
	tainted         bool
	taints, prefers int64
	sizes           []int64 // of images
	domains         []int32
	counted         []bool // by counter: the node's pods count there
	// Of its pods:
	adds  []int64 // to each counter
	why   []filter.Reason
	score int64
	pods  int64 // how many the node has
	// outside is what judges from elsewhere said, and of which state of the node.
	outside []outside

	bucket *bucket
	place  int
}

// NewClass returns a class that has looked at no node yet.
func NewClass(p *snapshot.Pod, profile *Profile, cluster *snapshot.Cluster) *Class {
	return &Class{
		Pod: p, profile: profile, dynamic: filter.Relevant(profile.Dynamic, p), cluster: cluster, reasons: map[string]int{}, fruitless: -1,
	}
}

// Refresh looks at the nodes that changed.
func (c *Class) Refresh() {
	moved := c.Pod.HasVolumes() && c.volumesChanged()
	if !c.started || c.epoch != c.cluster.Epoch || c.terms != c.cluster.TermsVersion && c.countersChanged() {
		c.restart()
		return
	}
	c.terms = c.cluster.TermsVersion
	for len(c.verdicts) < len(c.cluster.Nodes) {
		c.verdicts = append(c.verdicts, verdict{})
	}
	changed, now, known := c.cluster.Since(c.cursor)
	c.cursor = now
	if moved || !known || len(changed) > len(c.cluster.Nodes) {
		for i := range c.cluster.Nodes {
			c.evaluate(i)
		}
		return
	}
	for _, i := range changed {
		c.evaluate(i)
	}
}

// volumesChanged looks at the pod's volumes, and tells whether all nodes have to be looked at for them.
func (c *Class) volumesChanged() bool {
	var few [16]int64
	stamp := c.cluster.Volumes.Stamp(few[:0], c.Pod)
	if c.stamp != nil && slices.Equal(stamp, c.stamp) {
		return false
	}
	c.stamp, c.fruitless, c.blocked = slices.Clone(stamp), -1, nil
	if why := filter.Block(c.dynamic, c.Pod); why != "" {
		c.blocked = []filter.Reason{{Text: why, Final: true}}
	}
	return true
}

// countersChanged tells that a counter is missing; one too many does no harm.
func (c *Class) countersChanged() bool {
	for _, w := range c.counters() {
		if !slices.ContainsFunc(c.count, func(h *counter) bool { return h.kind == w.kind && h.key == w.key && h.spread == w.spread }) {
			return true
		}
	}
	return false
}

func (c *Class) restart() {
	c.started, c.epoch, c.terms = true, c.cluster.Epoch, c.cluster.TermsVersion
	_, c.cursor, _ = c.cluster.Since(c.cursor)
	c.count, c.memo, c.buckets, c.list = c.counters(), map[*snapshot.Shape][]int64{}, map[string]*bucket{}, nil
	outside := c.verdicts
	c.verdicts = make([]verdict, len(c.cluster.Nodes))
	for i := range min(len(outside), len(c.verdicts)) {
		c.verdicts[i].outside = outside[i].outside
	}
	clear(c.reasons)
	for i := range c.cluster.Nodes {
		c.evaluate(i)
	}
}

// evaluate looks at one node.
func (c *Class) evaluate(i int) {
	v, n := &c.verdicts[i], c.cluster.Nodes[i]
	for _, why := range v.why {
		if c.reasons[why.Text]--; c.reasons[why.Text] == 0 {
			delete(c.reasons, why.Text)
		}
	}
	v.why = nil
	if v.node != nil && (v.node != n || v.version != n.Version) {
		c.forget(i)
	}
	if n == nil {
		c.hear(i)
		return
	}
	if v.node == nil {
		c.meet(v, n)
	}
	c.hear(i)
	c.tally(i)
	special := false
	if v.why = c.blocked; len(v.why) == 0 {
		v.why = v.refused
	}
	if len(v.why) == 0 {
		v.why, special = c.local(n)
	}
	if len(v.why) == 0 {
		v.why = c.outsideWhy(v, n)
	}
	if len(v.why) > 0 {
		for _, why := range v.why {
			c.reasons[why.Text]++
		}
		c.leave(i)
		return
	}
	v.pods = n.Count
	v.score = score.Sum(c.profile.Scores, c.Pod, n) + c.outsideScore(v)
	c.stand(i, special)
}

// local asks the filters that look at the node's pods: as it is, and with the pods of no lower priority
// for which room is being made there.
func (c *Class) local(n *snapshot.Node) (why []filter.Reason, special bool) {
	if trial := c.withNominated(n); trial != nil {
		if why := filter.Check(c.dynamic, c.Pod, trial); len(why) > 0 {
			return why, false
		}
		special = len(c.count) > 0
	}
	return filter.Check(c.dynamic, c.Pod, n), special
}

// meet learns what the node object says.
func (c *Class) meet(v *verdict, n *snapshot.Node) {
	v.node, v.version = n, n.Version
	v.refused = filter.Check(c.profile.Static, c.Pod, n)
	v.affinity, _ = c.Pod.Required.Match(n.Object)
	v.tainted = filter.Tainted(c.Pod, n)
	v.taints, v.prefers = 0, 0
	if c.profile.TaintWeight > 0 {
		v.taints = score.Taints(c.Pod, n)
	}
	if c.profile.AffinityWeight > 0 {
		v.prefers = score.Affinity(c.Pod, c.profile.AddedPreferred, n)
	}
	v.sizes = v.sizes[:0]
	if c.profile.ImageWeight > 0 && len(n.Images) > 0 {
		for _, image := range c.Pod.Images {
			v.sizes = append(v.sizes, n.Images[image])
		}
		if !slices.ContainsFunc(v.sizes, func(size int64) bool { return size > 0 }) {
			v.sizes = nil
		}
	}
	if len(c.count) == 0 {
		return
	}
	v.domains, v.counted, v.adds = make([]int32, len(c.count)), make([]bool, len(c.count)), make([]int64, len(c.count))
	hard, soft := true, true
	for k, n2 := range c.count {
		v.domains[k] = n2.domain(n)
		hard = hard && (n2.kind != hardSpread || v.domains[k] >= 0)
		soft = soft && (n2.kind != softSpread || v.domains[k] >= 0)
	}
	for k, n2 := range c.count {
		v.counted[k] = v.domains[k] >= 0
		switch n2.kind {
		case hardSpread:
			v.counted[k] = hard && c.included(n2.spread, v)
		case softSpread:
			v.counted[k] = (soft || c.Pod.Lenient) && v.domains[k] >= 0 && c.included(n2.spread, v)
		}
		n2.join(v.domains[k], v.counted[k], 1)
	}
}

func (c *Class) included(s *snapshot.Spread, v *verdict) bool {
	return (!s.HonorAffinity || v.affinity) && (!s.HonorTaints || !v.tainted)
}

// forget takes back what the node has added anywhere.
func (c *Class) forget(i int) {
	v := &c.verdicts[i]
	c.leave(i)
	for k, n := range c.count {
		if v.counted[k] && v.adds[k] != 0 {
			c.add(i, k, -v.adds[k])
		}
		n.join(v.domains[k], v.counted[k], -1)
	}
	*v = verdict{sizes: v.sizes[:0], outside: v.outside}
}

// tally counts the node's pods.
func (c *Class) tally(i int) {
	v := &c.verdicts[i]
	if len(c.count) == 0 {
		return
	}
	var few [16]int64
	now := append(few[:0], make([]int64, len(c.count))...)
	for _, s := range v.node.Shapes {
		for k, e := range c.effects(s.Shape) {
			now[k] += e * s.Count
		}
	}
	for k := range c.count {
		if delta := now[k] - v.adds[k]; delta != 0 {
			v.adds[k] = now[k]
			if v.counted[k] {
				c.add(i, k, delta)
			}
		}
	}
}

// add changes a domain's number. When several nodes share a narrow domain, the others' coordinates change.
func (c *Class) add(i, k int, delta int64) {
	n, d := c.count[k], c.verdicts[i].domains[k]
	n.add(d, delta)
	if !n.narrow || n.domains[d].nodes < 2 || n.kind == softSpread {
		return
	}
	for j := range c.verdicts {
		if o := &c.verdicts[j]; j != i && o.bucket != nil && o.domains[k] == d {
			c.stand(j, o.bucket.special)
		}
	}
}
