package pluginswap

import (
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/gantryio/gantry/core/api/plugins/v1alpha1"
)

// node is what is seen of a node.
type node struct {
	plugins *v1alpha1.NodePlugins
	// pods are those that the status names as depending on a plugin, by its name. What is no longer in the API is
	// left out.
	pods map[string][]*corev1.Pod
}

// world is everything that a swap is decided by.
type world struct {
	now   time.Time
	nodes map[string]node
	// families are those of the pods by the UIDs of their controllers.
	families map[types.UID]*family
	// pinned tells that a pod asks for the plugin by name, so that a replacement would come back to it.
	pinned func(p *corev1.Pod, plugin string) bool
}

// plan is what to do now. The status is written before anything is done, so that whoever goes on knows.
type plan struct {
	status v1alpha1.PluginSwapStatus
	// defaults are the nodes' defaults to write; "" takes the node's own default away.
	defaults map[string]string
	evict    []*corev1.Pod
	// taken are how many pods that work each family loses by this plan, first where it does.
	taken map[*family]int32
	first map[place]bool
	// wait is when to look again if nothing happens; 0 is never.
	wait time.Duration
}

type place struct {
	family *family
	node   string
}

// audit is how long to wait for an event at most.
const audit = 10 * time.Second

// wake has the swap looked at again after that time; 0 is for nothing.
func (p *plan) wake(after time.Duration) {
	if after > 0 {
		p.wait = min(p.wait, after)
	}
}

// patience is how long nothing may move.
func patience(s *v1alpha1.PluginSwap) time.Duration {
	return time.Duration(*s.Spec.HealthTimeoutSeconds) * time.Second
}

// decide is pure.
func decide(s *v1alpha1.PluginSwap, w world) plan {
	p := plan{
		status: *s.Status.DeepCopy(), defaults: map[string]string{}, taken: map[*family]int32{}, first: map[place]bool{},
		wait: min(audit, patience(s)/2),
	}
	if finished(p.status.Phase) {
		return p
	}
	if p.status.StartTime == nil {
		p.begin(s, w)
		if finished(p.status.Phase) {
			return p
		}
	}
	if p.status.Phase == v1alpha1.SwapMoving && s.Spec.Cancelled {
		p.status.Phase, p.status.Message = v1alpha1.SwapRollingBack, "cancelled"
	}
	moving := p.status.Phase == v1alpha1.SwapMoving
	slots := unavailable(s, len(p.status.Nodes))
	for i := range p.status.Nodes {
		n := &p.status.Nodes[i]
		if moving {
			slots -= p.forward(s, w, n, slots)
		} else {
			p.back(s, w, n)
		}
	}
	if moving && !p.moved() {
		p.fail(s)
	}
	p.conclude(w.now)
	return p
}

func finished(phase v1alpha1.SwapPhase) bool {
	return phase == v1alpha1.SwapSucceeded || phase == v1alpha1.SwapRolledBack || phase == v1alpha1.SwapFailed
}

func unavailable(s *v1alpha1.PluginSwap, nodes int) int {
	n, err := intstr.GetScaledValueFromIntOrPercent(s.Spec.MaxUnavailable, nodes, true)
	if err != nil {
		return 1
	}
	return max(1, n)
}

// begin picks the nodes.
func (p *plan) begin(s *v1alpha1.PluginSwap, w world) {
	now := metav1.NewTime(w.now)
	p.status.StartTime, p.status.Phase = &now, v1alpha1.SwapMoving
	names := s.Spec.Nodes
	if len(names) == 0 {
		for name, n := range w.nodes {
			if instance(n.plugins, s.Spec.Type, s.Spec.From) != nil && instance(n.plugins, s.Spec.Type, s.Spec.To) != nil {
				names = append(names, name)
			}
		}
		slices.Sort(names)
	}
	var text string
	for _, name := range names {
		n, known := w.nodes[name]
		switch {
		case !known:
			text = fmt.Sprintf("node %s has no plugins", name)
		case instance(n.plugins, s.Spec.Type, s.Spec.To) == nil:
			text = fmt.Sprintf("node %s has no plugin %s of type %s", name, s.Spec.To, s.Spec.Type)
		}
		p.status.Nodes = append(p.status.Nodes, v1alpha1.SwapNode{Name: name, Phase: v1alpha1.SwapPending})
	}
	if len(names) == 0 {
		text = fmt.Sprintf("no node has both %s and %s", s.Spec.From, s.Spec.To)
	}
	if text != "" {
		p.status.Phase, p.status.Message, p.status.Nodes, p.status.CompletionTime = v1alpha1.SwapFailed, text, nil, &now
	}
}

func instance(n *v1alpha1.NodePlugins, t v1alpha1.Type, name string) *v1alpha1.NodePlugin {
	if n == nil {
		return nil
	}
	for i := range n.Status.Plugins {
		if p := &n.Status.Plugins[i]; p.Type == t && p.Name == name {
			return p
		}
	}
	return nil
}

// forward moves a node on, and returns how many slots it takes.
func (p *plan) forward(s *v1alpha1.PluginSwap, w world, n *v1alpha1.SwapNode, slots int) int {
	switch n.Phase {
	case v1alpha1.SwapPending:
		to := instance(w.nodes[n.Name].plugins, s.Spec.Type, s.Spec.To)
		if slots <= 0 {
			n.Message = "waits for other nodes"
			return 0
		}
		if n.ProgressTime == nil {
			n.ProgressTime = &metav1.Time{Time: w.now}
		}
		if to == nil || !to.Ready {
			n.Message = "waits for " + s.Spec.To + " to answer"
			p.late(s, w, n)
			return 1
		}
		if own := w.nodes[n.Name].plugins; own.Spec.Defaults != nil {
			n.Previous = own.Spec.Defaults[s.Spec.Type]
		}
		n.Phase, n.ProgressTime = v1alpha1.SwapMoving, &metav1.Time{Time: w.now}
		p.move(s, w, n, s.Spec.From, s.Spec.To, s.Spec.To)
		return 1
	case v1alpha1.SwapMoving:
		if p.move(s, w, n, s.Spec.From, s.Spec.To, s.Spec.To) {
			n.Phase, n.Message = v1alpha1.SwapSucceeded, ""
			return 0
		}
		p.late(s, w, n)
		return 1
	}
	return 0
}

// back undoes what was done to a node.
func (p *plan) back(s *v1alpha1.PluginSwap, w world, n *v1alpha1.SwapNode) {
	switch n.Phase {
	case v1alpha1.SwapPending:
		n.Phase, n.Message = v1alpha1.SwapRolledBack, ""
	case v1alpha1.SwapMoving, v1alpha1.SwapSucceeded, v1alpha1.SwapFailed:
		n.Phase, n.ProgressTime = v1alpha1.SwapRollingBack, &metav1.Time{Time: w.now}
		fallthrough
	case v1alpha1.SwapRollingBack:
		if p.move(s, w, n, s.Spec.To, s.Spec.From, n.Previous) {
			n.Phase, n.Message = v1alpha1.SwapRolledBack, ""
		}
	}
}

// late fails a node that has been waiting too long for the new plugin.
func (p *plan) late(s *v1alpha1.PluginSwap, w world, n *v1alpha1.SwapNode) {
	limit := patience(s)
	if n.ProgressTime != nil && w.now.Sub(n.ProgressTime.Time) > limit {
		n.Phase, n.Message = v1alpha1.SwapFailed, fmt.Sprintf("no progress for %s: %s", limit, n.Message)
	}
}

// moved reports whether no node has failed.
func (p *plan) moved() bool {
	return !slices.ContainsFunc(p.status.Nodes, func(n v1alpha1.SwapNode) bool { return n.Phase == v1alpha1.SwapFailed })
}

func (p *plan) fail(s *v1alpha1.PluginSwap) {
	for _, n := range p.status.Nodes {
		if n.Phase == v1alpha1.SwapFailed {
			p.status.Message = "node " + n.Name + ": " + n.Message
		}
	}
	p.evict, p.defaults = nil, map[string]string{}
	if s.Spec.AutomaticRollback != nil && !*s.Spec.AutomaticRollback {
		p.status.Phase = v1alpha1.SwapFailed
		return
	}
	p.status.Phase = v1alpha1.SwapRollingBack
}

// conclude ends the swap when all nodes are where they belong.
func (p *plan) conclude(now time.Time) {
	all := func(phase v1alpha1.SwapPhase) bool {
		return !slices.ContainsFunc(p.status.Nodes, func(n v1alpha1.SwapNode) bool { return n.Phase != phase })
	}
	switch {
	case p.status.Phase == v1alpha1.SwapMoving && all(v1alpha1.SwapSucceeded):
		p.status.Phase, p.status.Message = v1alpha1.SwapSucceeded, ""
	case p.status.Phase == v1alpha1.SwapRollingBack && all(v1alpha1.SwapRolledBack):
		p.status.Phase = v1alpha1.SwapRolledBack
	}
	if finished(p.status.Phase) {
		p.status.CompletionTime, p.wait = &metav1.Time{Time: now}, 0
	}
}
