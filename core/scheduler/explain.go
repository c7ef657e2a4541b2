package scheduler

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/gantryio/gantry/core/scheduler/filter"
	"github.com/gantryio/gantry/core/scheduler/place"
	"github.com/gantryio/gantry/core/scheduler/snapshot"
)

// Explanation is what the scheduler knows of a pod.
type Explanation struct {
	// State says what the scheduler does with the pod.
	State string `json:"state"`
	// Nominated is the node where room is being made for it.
	Nominated string    `json:"nominated,omitempty"`
	Retry     time.Time `json:"retry,omitzero"`
	Journey   Journey   `json:"journey"`
	// Nodes says of each node, for a pod that has none yet, whether it could take the pod now.
	Nodes []NodeExplanation `json:"nodes,omitempty"`
}

// NodeExplanation is what a node means for a pod.
type NodeExplanation struct {
	Name string `json:"name"`
	Fits bool   `json:"fits"`
	// Score is that of a node that fits.
	Score   int64    `json:"score,omitempty"`
	Reasons []string `json:"reasons,omitempty"`
}

// Explain tells where the pod is in the scheduler, and what each node means for it as things are now.
func (s *Scheduler) Explain(ctx context.Context, pod *corev1.Pod) (Explanation, error) {
	out := Explanation{}
	out.Journey, _ = s.journeys.of(pod.UID)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cluster == nil {
		return out, fmt.Errorf("explain pod %s: the scheduler has not started", pod.Name)
	}
	if pod.Spec.NodeName != "" {
		out.State = "it is bound to " + pod.Spec.NodeName
		return out, nil
	}
	out.Nominated = s.cluster.Nominated(pod.UID)
	it := s.queue.items[pod.UID]
	switch {
	case pod.DeletionTimestamp != nil:
		out.State = "it is being deleted"
	case len(pod.Spec.SchedulingGates) > 0:
		out.State = "it waits for its scheduling gates: " + gates(pod)
	case s.profiles[pod.Spec.SchedulerName] == nil:
		out.State = fmt.Sprintf("it waits for another scheduler, %q", pod.Spec.SchedulerName)
		return out, nil
	case s.bindings.pods[pod.UID] != nil:
		out.State = fmt.Sprintf("it waits for its claims to be bound for %s", s.cluster.Placed(pod.UID))
	case s.cluster.Placed(pod.UID) != "":
		out.State = "it is being bound to " + s.cluster.Placed(pod.UID)
	case it == nil:
		out.State = "the scheduler has not seen it yet"
	case it.class.waiting[pod.UID] != nil:
		out.State = "it waits for a change that makes it fit: " + it.message
	case it.heap == &s.queue.delayed:
		out.State, out.Retry = "it waits for its back-off to end: "+it.message, it.notBefore
	default:
		out.State = fmt.Sprintf("it is in the queue, %d pods with it", s.queue.active.Len())
	}
	if it != nil {
		out.Journey.Queued, out.Journey.Attempts = it.queued, it.attempts
	}
	return out, s.explainNodes(pod, &out)
}

func gates(pod *corev1.Pod) string {
	var names []string
	for _, g := range pod.Spec.SchedulingGates {
		names = append(names, g.Name)
	}
	return strings.Join(names, ", ")
}

func (s *Scheduler) explainNodes(pod *corev1.Pod, out *Explanation) error {
	c, err := s.classOf(pod)
	if err != nil {
		return err
	}
	c.Refresh()
	scores := map[*snapshot.Node]int64{}
	for _, a := range c.All() {
		scores[a.Node] = a.Score
	}
	for i, n := range s.cluster.Nodes {
		if n == nil {
			continue
		}
		e := NodeExplanation{Name: n.Object.Name}
		e.Score, e.Fits = scores[n]
		switch pin := snapshot.Pin(pod); {
		case pin != "" && pin != e.Name:
			e.Fits, e.Score, e.Reasons = false, 0, []string{"the pod asks for the node " + pin}
		case !e.Fits:
			e.Reasons = reasons(c.Class, i, n)
		}
		out.Nodes = append(out.Nodes, e)
	}
	slices.SortFunc(out.Nodes, func(a, b NodeExplanation) int { return strings.Compare(a.Name, b.Name) })
	return nil
}

// reasons adds to each reason the figures that it comes from.
func reasons(c *place.Class, i int, n *snapshot.Node) []string {
	var out []string
	for _, r := range c.Why(i) {
		text := r.Text
		switch name, short := strings.CutPrefix(text, "Insufficient "); {
		case short:
			resource := corev1.ResourceName(name)
			text += fmt.Sprintf(" (asks for %s, %s of %s are free)", amount(resource, c.Pod.Requests.Of(resource)),
				amount(resource, n.Allocatable.Of(resource)-n.Requested.Of(resource)), amount(resource, n.Allocatable.Of(resource)))
		case text == "Too many pods":
			text += fmt.Sprintf(" (%d of %d)", n.Count, n.MaxPods)
		case filter.Tainted(c.Pod, n) && strings.Contains(text, "taint"):
			text += " (" + taints(c.Pod, n) + ")"
		}
		out = append(out, text)
	}
	return out
}

func amount(name corev1.ResourceName, n int64) string {
	switch name {
	case corev1.ResourceCPU:
		return fmt.Sprintf("%dm", n)
	case corev1.ResourceMemory, corev1.ResourceEphemeralStorage:
		return fmt.Sprintf("%dMi", n>>20)
	}
	return fmt.Sprint(n)
}

func taints(p *snapshot.Pod, n *snapshot.Node) string {
	var out []string
	for i := range n.Object.Spec.Taints {
		t := &n.Object.Spec.Taints[i]
		if t.Effect != corev1.TaintEffectPreferNoSchedule && !filter.Tolerates(p.Tolerations, t) {
			out = append(out, t.ToString())
		}
	}
	return strings.Join(out, ", ")
}
