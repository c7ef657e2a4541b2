package scheduler

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	extenderv1 "k8s.io/kube-scheduler/extender/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gantryio/gantry/core/scheduler/place"
	"github.com/gantryio/gantry/core/scheduler/score"
	"github.com/gantryio/gantry/core/scheduler/snapshot"
)

// chooseExtended is choose for pods that extenders have a say in. The lock is given up while they are asked.
func (s *Scheduler) chooseExtended(ctx context.Context, it *item) (*snapshot.Node, map[string]int) {
	all := it.class.All()
	reasons := it.class.Refusals()
	if it.pin != "" {
		_, reasons = it.class.Only(s.cluster.Node(it.pin))
		if reasons == nil {
			reasons = map[string]int{}
		}
		all = slices.DeleteFunc(all, func(c place.Candidate) bool { return c.Node.Object.Name != it.pin })
	}
	slices.SortFunc(all, func(a, b place.Candidate) int { return cmp.Compare(a.Node.Index, b.Node.Index) })
	nodes := make([]*corev1.Node, len(all))
	for i, c := range all {
		nodes[i] = c.Node.Object
	}
	if len(nodes) == 0 {
		return nil, reasons
	}
	s.mu.Unlock()
	kept, refused, extra, err := s.askExtenders(ctx, it.pod, nodes)
	s.mu.Lock()
	if err != nil {
		reasons[err.Error()] = len(nodes)
		return nil, reasons
	}
	for _, r := range refused {
		reasons[r.text]++
	}
	var best *snapshot.Node
	most := int64(0)
	for _, c := range all {
		name := c.Node.Object.Name
		if sum := c.Score + extra[name]; kept[name] && s.cluster.Node(name) == c.Node && (best == nil || sum > most) {
			best, most = c.Node, sum
		}
	}
	return best, reasons
}

// askExtenders asks the extenders one after the other, each about what the ones before have left.
func (s *Scheduler) askExtenders(ctx context.Context, pod *corev1.Pod, nodes []*corev1.Node) (kept map[string]bool, refused map[string]refusal, extra map[string]int64, err error) {
	refused, extra, kept = map[string]refusal{}, map[string]int64{}, map[string]bool{}
	for _, e := range s.extenders {
		if e.FilterVerb == "" || !e.concerns(pod) || len(nodes) == 0 {
			continue
		}
		left, why, err := e.filter(ctx, pod, nodes)
		if err != nil && e.Ignorable {
			s.Log.Warn("skipped extender", "extender", e.URLPrefix, "err", err)
			continue
		}
		if err != nil {
			return nil, nil, nil, fmt.Errorf("ask extender %s: %w", e.URLPrefix, err)
		}
		for name, r := range why {
			refused[name] = r
		}
		nodes = slices.DeleteFunc(slices.Clone(nodes), func(n *corev1.Node) bool { return !left[n.Name] })
	}
	for _, n := range nodes {
		kept[n.Name] = true
	}
	for _, e := range s.extenders {
		if e.PrioritizeVerb == "" || !e.concerns(pod) || len(nodes) == 0 {
			continue
		}
		scores, err := e.prioritize(ctx, pod, nodes)
		if err != nil {
			s.Log.Warn("extender gives no scores", "extender", e.URLPrefix, "err", err) // as kube-scheduler: they are a wish
			continue
		}
		for name, n := range scores {
			extra[name] += n * e.Weight * (score.Max / extenderv1.MaxExtenderPriority)
		}
	}
	return kept, refused, extra, nil
}

// extendedVictims lets the extenders that know about preemption choose among the candidates. The lock is
// given up while they are asked.
func (s *Scheduler) extendedVictims(ctx context.Context, it *item, found []place.Victims) []place.Victims {
	for _, e := range s.extenders {
		if e.PreemptVerb == "" || !e.concerns(it.pod) || len(found) == 0 {
			continue
		}
		q := extenderv1.ExtenderPreemptionArgs{Pod: it.pod}
		if e.NodeCacheCapable {
			q.NodeNameToMetaVictims = map[string]*extenderv1.MetaVictims{}
		} else {
			q.NodeNameToVictims = map[string]*extenderv1.Victims{}
		}
		for _, v := range found {
			meta, full := &extenderv1.MetaVictims{NumPDBViolations: int64(v.Violations)}, &extenderv1.Victims{NumPDBViolations: int64(v.Violations)}
			for _, p := range v.Pods {
				if e.NodeCacheCapable {
					meta.Pods = append(meta.Pods, &extenderv1.MetaPod{UID: string(p.UID)})
					continue
				}
				var object corev1.Pod
				if s.Client.Get(ctx, client.ObjectKey{Namespace: p.Namespace, Name: p.Name}, &object) == nil {
					full.Pods = append(full.Pods, &object)
				}
			}
			if e.NodeCacheCapable {
				q.NodeNameToMetaVictims[v.Node.Object.Name] = meta
			} else {
				q.NodeNameToVictims[v.Node.Object.Name] = full
			}
		}
		var result extenderv1.ExtenderPreemptionResult
		s.mu.Unlock()
		err := e.send(ctx, e.PreemptVerb, &q, &result)
		s.mu.Lock()
		if err != nil {
			s.Log.Warn("extender does not judge preemption", "extender", e.URLPrefix, "err", err)
			if !e.Ignorable {
				return nil
			}
			continue
		}
		found = s.chosenVictims(result)
	}
	return found
}

// chosenVictims reads an extender's answer; nodes without victims that are there count for nothing.
func (s *Scheduler) chosenVictims(result extenderv1.ExtenderPreemptionResult) []place.Victims {
	var out []place.Victims
	for name, v := range result.NodeNameToMetaVictims {
		n := s.cluster.Node(name)
		if n == nil || v == nil {
			continue
		}
		victims := place.Victims{Node: n, Violations: int(v.NumPDBViolations)}
		for _, p := range v.Pods {
			if have := n.Pods[types.UID(p.UID)]; have != nil {
				victims.Pods = append(victims.Pods, have)
			}
		}
		if len(victims.Pods) > 0 {
			out = append(out, victims)
		}
	}
	slices.SortFunc(out, func(a, b place.Victims) int { return cmp.Compare(a.Node.Index, b.Node.Index) })
	return out
}
