package place

import (
	"cmp"
	"math"
	"slices"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gantryio/gantry/core/scheduler/filter"
	"github.com/gantryio/gantry/core/scheduler/snapshot"
)

// Victims are the pods of a node that would have to go.
type Victims struct {
	Node *snapshot.Node
	// Pods come with the most important one first.
	Pods []*snapshot.Placed
	// Violations is how many of them their disruption budgets would keep.
	Violations int
}

// Budget is a PodDisruptionBudget.
type Budget struct {
	Namespace string
	Selector  labels.Selector
	Allowed   int32
	// Disrupted are the names of pods whose disruption is counted already.
	Disrupted map[string]bool
}

// dryRun is what preemption on a node came to, while nothing changes there.
type dryRun struct {
	node    *snapshot.Node
	changed int64
	found   Victims
	why     []filter.Reason
}

const (
	notHelpful = "Preemption is not helpful for scheduling"
	noVictims  = "No preemption victims found for incoming pod"
)

// Eligible says why the pod may not preempt, given the node where room is being made for it; "" when it may.
func (c *Class) Eligible(nominated *snapshot.Node) string {
	if p := c.Pod.Object.Spec.PreemptionPolicy; p != nil && *p == "Never" {
		return "not eligible due to preemptionPolicy=Never."
	}
	if nominated == nil || slices.ContainsFunc(c.Why(nominated.Index), func(r filter.Reason) bool { return r.Final }) {
		return ""
	}
	for _, p := range nominated.Pods {
		if p.Priority < c.Pod.Priority && p.Preempted {
			return "not eligible due to a terminating pod on the nominated node."
		}
	}
	return ""
}

// Preempt looks for nodes where pods of lower priority could make room for the pod with the UID. It returns
// what it found, or why there is nothing, by reason.
// With a pin, only that node is looked at.
func (c *Class) Preempt(uid types.UID, pin string, budgets []Budget) ([]Victims, map[string]int) {
	if pin == "" && c.fruitless == c.cluster.Now() {
		return nil, c.inVain // nothing has changed since
	}
	potential := c.potential(pin)
	reasons := map[string]int{}
	if rest := c.cluster.Len() - len(potential); rest > 0 {
		reasons[notHelpful] = rest
	}
	enough := min(max(len(potential)*c.profile.CandidatePercent/100, c.profile.Candidates), len(potential))
	var found []Victims
	clean := false
	for k := range potential {
		i := potential[(c.offset+k)%len(potential)]
		v, why := c.dryRun(i, uid, budgets)
		if len(why) > 0 {
			for _, r := range why {
				reasons[r.Text]++
			}
			continue
		}
		found = append(found, v)
		clean = clean || v.Violations == 0
		if clean && len(found) >= enough {
			c.offset = (c.offset + k + 1) % len(potential)
			break
		}
	}
	if len(found) == 0 && pin == "" {
		c.fruitless, c.inVain = c.cluster.Now(), reasons
	}
	return found, reasons
}

// potential lists the nodes that refuse for reasons that preemption may change.
func (c *Class) potential(pin string) []int {
	var out []int
	for i := range c.verdicts {
		if n := c.verdicts[i].node; n == nil || pin != "" && n.Object.Name != pin {
			continue
		}
		why := c.Why(i)
		if len(why) > 0 && !slices.ContainsFunc(why, func(r filter.Reason) bool { return r.Final }) {
			out = append(out, i)
		}
	}
	return out
}

// dryRun remembers results where these depend on the node alone.
func (c *Class) dryRun(i int, uid types.UID, budgets []Budget) (Victims, []filter.Reason) {
	n := c.verdicts[i].node
	if len(c.count) > 0 || c.Pod.HasVolumes() || len(budgets) > 0 || len(n.Nominated) > 0 {
		return c.victims(i, uid, budgets)
	}
	for len(c.dry) < len(c.verdicts) {
		c.dry = append(c.dry, dryRun{})
	}
	d := &c.dry[i]
	if d.node != n || d.changed != n.Changed {
		*d = dryRun{node: n, changed: n.Changed}
		d.found, d.why = c.victims(i, uid, budgets)
	}
	return d.found, d.why
}

// victims finds the least important pods of a node without which the pod fits: all of lower priority go,
// and come back one by one as far as there is room, those first whose budget would be violated.
func (c *Class) victims(i int, uid types.UID, budgets []Budget) (Victims, []filter.Reason) {
	t := c.newTrial(i)
	var lower []*snapshot.Placed
	for _, p := range c.verdicts[i].node.Pods {
		if p.Priority < c.Pod.Priority {
			lower = append(lower, p)
			t.try(p, -1)
		}
	}
	if len(lower) == 0 {
		return Victims{}, []filter.Reason{{Text: noVictims, Final: true}}
	}
	if why := t.both(uid); len(why) > 0 {
		return Victims{}, why
	}
	slices.SortFunc(lower, byImportance)
	violating, others := violations(lower, budgets)
	out := Victims{Node: c.verdicts[i].node}
	for k, p := range append(violating, others...) {
		t.try(p, 1)
		if len(t.both(uid)) == 0 {
			continue
		}
		t.try(p, -1)
		out.Pods = append(out.Pods, p)
		if k < len(violating) {
			out.Violations++
		}
	}
	slices.SortFunc(out.Pods, byImportance)
	return out, nil
}

// byImportance orders by priority, then by age; the name makes the order total.
func byImportance(a, b *snapshot.Placed) int {
	return cmp.Or(cmp.Compare(b.Priority, a.Priority), cmp.Compare(a.Started, b.Started), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
}

// violations splits the pods by whether a budget would keep them.
func violations(pods []*snapshot.Placed, budgets []Budget) (violating, others []*snapshot.Placed) {
	left := make([]int32, len(budgets))
	for i := range budgets {
		left[i] = budgets[i].Allowed
	}
	for _, p := range pods {
		violates := false
		if len(p.Labels()) > 0 {
			for i := range budgets {
				b := &budgets[i]
				if b.Namespace != p.Namespace || b.Selector.Empty() || !b.Selector.Matches(p.Labels()) || b.Disrupted[p.Name] {
					continue
				}
				left[i]--
				violates = violates || left[i] < 0
			}
		}
		if violates {
			violating = append(violating, p)
		} else {
			others = append(others, p)
		}
	}
	return violating, others
}

// Cheapest picks the victims that are the smallest loss: few violated budgets, a low highest priority, a
// small sum of priorities, few pods, and of the most important ones a late start.
func Cheapest(all []Victims) Victims {
	return slices.MinFunc(all, func(a, b Victims) int {
		return cmp.Or(
			cmp.Compare(a.Violations, b.Violations),
			cmp.Compare(highest(a), highest(b)),
			cmp.Compare(sum(a), sum(b)),
			cmp.Compare(len(a.Pods), len(b.Pods)),
			cmp.Compare(earliest(b), earliest(a)),
		)
	})
}

func highest(v Victims) int32 {
	if len(v.Pods) == 0 {
		return math.MinInt32
	}
	return v.Pods[0].Priority
}

func sum(v Victims) int64 {
	s := int64(0)
	for _, p := range v.Pods {
		s += int64(p.Priority) + math.MaxInt32 + 1 // so that many of negative priority are no gain
	}
	return s
}

func earliest(v Victims) int64 {
	if len(v.Pods) == 0 {
		return math.MaxInt64
	}
	return v.Pods[0].Started // the first is the eldest of the highest priority
}
