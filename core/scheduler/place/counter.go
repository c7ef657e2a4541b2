package place

import (
	"math"

	corev1 "k8s.io/api/core/v1"

	"github.com/gantryio/gantry/core/scheduler/snapshot"
)

// kind is what a counter counts.
type kind byte

const (
	hardSpread   kind = iota // pods that a DoNotSchedule constraint spreads
	softSpread               // pods that a ScheduleAnyway constraint spreads
	affinity                 // pods that match all required affinity terms
	antiAffinity             // pods that match required anti-affinity terms of the class
	existingAnti             // pods whose required anti-affinity terms match the class
	preference               // weights of preferred terms, the class's and the placed pods'
)

// missing is the coordinate of nodes without the label; no count is as small.
const missing = math.MinInt64

// counter sums up a number for each domain of a topology key.
type counter struct {
	kind   kind
	key    string
	spread *snapshot.Spread
	// narrow domains are single nodes: nodes are told apart by the number rather than by the domain.
	narrow  bool
	ids     map[string]int32
	domains []domain
	sum     int64
	// counts tells of a hard constraint how many domains that count have each number.
	counts   map[int64]int
	eligible int
}

type domain struct {
	total           int64
	nodes, eligible int32
	seen            int64 // the scan that met it last
}

func newCounter(k kind, key string, s *snapshot.Spread) *counter {
	return &counter{kind: k, key: key, spread: s, narrow: key == corev1.LabelHostname, ids: map[string]int32{}, counts: map[int64]int{}}
}

// domain finds or makes the domain of a node, -1 when the node has none.
func (c *counter) domain(n *snapshot.Node) int32 {
	value, ok := n.Object.Labels[c.key]
	if !ok {
		return -1
	}
	id, ok := c.ids[value]
	if !ok {
		id = int32(len(c.domains))
		c.ids[value] = id
		c.domains = append(c.domains, domain{})
	}
	return id
}

// join (1) and leave (-1) count the nodes of a domain.
func (c *counter) join(d int32, eligible bool, sign int32) {
	if d < 0 {
		return
	}
	at := &c.domains[d]
	at.nodes += sign
	if !eligible {
		return
	}
	was := at.eligible
	at.eligible += sign
	if c.kind == hardSpread && (was == 0 || at.eligible == 0) {
		c.eligible += int(sign)
		c.note(at.total, int(sign))
	}
}

func (c *counter) note(total int64, sign int) {
	if c.counts[total] += sign; c.counts[total] == 0 {
		delete(c.counts, total)
	}
}

func (c *counter) add(d int32, delta int64) {
	at := &c.domains[d]
	if c.kind == hardSpread && at.eligible > 0 {
		c.note(at.total, -1)
		c.note(at.total+delta, 1)
	}
	at.total += delta
	c.sum += delta
}

// least is the smallest number of a hard constraint's domains, as if domain d had delta more (-1 for none).
func (c *counter) least(d int32, delta int64) int64 {
	if int64(c.eligible) < c.spread.MinDomains {
		return 0
	}
	found := int64(math.MaxInt32)
	if d < 0 || delta == 0 || c.domains[d].eligible == 0 {
		for n := range c.counts {
			found = min(found, n)
		}
		return found
	}
	own := c.domains[d].total
	for n, domains := range c.counts {
		if n != own || domains > 1 {
			found = min(found, n)
		}
	}
	return min(found, own+delta)
}

// counters makes the counters that the class needs.
func (c *Class) counters() []*counter {
	var out []*counter
	if c.profile.FilterSpread {
		for i := range c.Pod.Spreads {
			if s := &c.Pod.Spreads[i]; s.Hard {
				out = append(out, newCounter(hardSpread, s.Key, s))
			}
		}
	}
	if c.profile.SpreadWeight > 0 {
		for i := range c.Pod.Spreads {
			if s := &c.Pod.Spreads[i]; !s.Hard {
				out = append(out, newCounter(softSpread, s.Key, s))
			}
		}
	}
	have := map[kind]map[string]bool{affinity: {}, antiAffinity: {}, existingAnti: {}, preference: {}}
	once := func(k kind, key string) {
		if !have[k][key] {
			have[k][key] = true
			out = append(out, newCounter(k, key, nil))
		}
	}
	c.ownTerms(once)
	c.othersTerms(once)
	return out
}

func (c *Class) ownTerms(once func(kind, string)) {
	for _, t := range c.Pod.Terms {
		switch {
		case t.Kind == snapshot.RequiredAffinity && c.profile.FilterInterPod:
			once(affinity, t.Key)
		case t.Kind == snapshot.RequiredAntiAffinity && c.profile.FilterInterPod:
			once(antiAffinity, t.Key)
		case t.Kind == snapshot.Preferred && c.profile.InterPodWeight > 0:
			once(preference, t.Key)
		}
	}
}

func (c *Class) othersTerms(once func(kind, string)) {
	scores := c.scoresOthers()
	c.cluster.Terms(func(t *snapshot.Term) {
		anti := t.Kind == snapshot.RequiredAntiAffinity && c.profile.FilterInterPod
		counts := scores && (t.Kind == snapshot.Preferred || t.Kind == snapshot.RequiredAffinity && c.profile.HardWeight > 0)
		if (anti || counts) && c.isMeant(t) {
			if anti {
				once(existingAnti, t.Key)
			} else {
				once(preference, t.Key)
			}
		}
	})
}

// scoresOthers tells whether terms of placed pods count for the score.
func (c *Class) scoresOthers() bool {
	if c.profile.InterPodWeight == 0 {
		return false
	}
	if !c.profile.IgnoreExisting {
		return true
	}
	for _, t := range c.Pod.Terms {
		if t.Kind == snapshot.Preferred {
			return true
		}
	}
	return false
}

func (c *Class) isMeant(t *snapshot.Term) bool {
	return t.Matches(c.Pod.Namespace, c.Pod.Labels, c.cluster.NamespaceLabels(c.Pod.Namespace))
}

// effects is what one placed pod of the shape adds to each counter, nil for nothing.
func (c *Class) effects(s *snapshot.Shape) []int64 {
	if e, ok := c.memo[s]; ok {
		return e
	}
	if len(c.memo) >= maxMemo {
		clear(c.memo) // shapes go, and are not told of here
	}
	out, any := make([]int64, len(c.count)), false
	for k, n := range c.count {
		out[k] = c.effect(n, s)
		any = any || out[k] != 0
	}
	if !any {
		out = nil
	}
	c.memo[s] = out
	return out
}

const maxMemo = 1 << 16

func (c *Class) effect(n *counter, s *snapshot.Shape) int64 {
	namespace := c.cluster.NamespaceLabels(s.Namespace)
	sum := int64(0)
	switch n.kind {
	case hardSpread, softSpread:
		if n.spread.Counts(c.Pod.Namespace, s) {
			sum = 1
		}
	case affinity:
		sum = 1
		for _, t := range c.Pod.Terms {
			if t.Kind == snapshot.RequiredAffinity && !t.Matches(s.Namespace, s.Labels, namespace) {
				sum = 0
			}
		}
	case antiAffinity:
		for _, t := range c.Pod.Terms {
			if t.Kind == snapshot.RequiredAntiAffinity && t.Key == n.key && t.Matches(s.Namespace, s.Labels, namespace) {
				sum++
			}
		}
	case existingAnti:
		for _, t := range s.Terms {
			if t.Kind == snapshot.RequiredAntiAffinity && t.Key == n.key && c.isMeant(t) {
				sum++
			}
		}
	case preference:
		return c.preference(n, s)
	}
	return sum
}

func (c *Class) preference(n *counter, s *snapshot.Shape) int64 {
	sum := int64(0)
	for _, t := range c.Pod.Terms {
		if t.Kind == snapshot.Preferred && t.Key == n.key && t.Matches(s.Namespace, s.Labels, c.cluster.NamespaceLabels(s.Namespace)) {
			sum += t.Weight
		}
	}
	if !c.scoresOthers() {
		return sum
	}
	for _, t := range s.Terms {
		if t.Key != n.key || !c.isMeant(t) {
			continue
		}
		switch t.Kind {
		case snapshot.Preferred:
			sum += t.Weight
		case snapshot.RequiredAffinity:
			sum += c.profile.HardWeight
		}
	}
	return sum
}
