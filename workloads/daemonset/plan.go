package daemonset

import (
	"cmp"
	"maps"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// burst is how many pods one reconcile creates or deletes at most.
const burst = 500

// state is what is known of one DaemonSet.
type state struct {
	ds *appsv1.DaemonSet
	// hash is the label of pods of the present template.
	hash       string
	collisions *int32
	pods       []*corev1.Pod
	nodes      []*corev1.Node
	// hold is how long the node's failed pod still stays, so that one that always fails is not made anew
	// all the time.
	hold func(node string) time.Duration
	now  time.Time
}

// plan is what to do about one DaemonSet.
type plan struct {
	create []string // nodes
	remove []*corev1.Pod
	// ended are those of remove that have failed or succeeded.
	ended  []*corev1.Pod
	status appsv1.DaemonSetStatus
	// wakeAfter is when to look again, 0 for never.
	wakeAfter time.Duration
}

// place is a node with the pods that are on it or meant for it, the oldest first.
type place struct {
	node      *corev1.Node
	run, stay bool
	pods      []*corev1.Pod
}

// rollout is a state in the making of its plan.
type rollout struct {
	state
	plan
	places []*place
	gone   []*corev1.Pod // pods that wait for a node that there is not
	wanted int
}

// decide compares a DaemonSet with the nodes and its pods.
func decide(s state) plan {
	r := &rollout{state: s}
	r.sort()
	for _, p := range r.places {
		if p.run {
			r.wanted++
		}
	}
	r.count()
	for _, p := range r.places {
		r.manage(p)
	}
	r.remove = append(r.remove, r.gone...)
	if s.ds.Spec.UpdateStrategy.Type != appsv1.OnDeleteDaemonSetStrategyType {
		if surge := r.surge(); surge > 0 {
			r.rollSurging(surge)
		} else {
			r.roll()
		}
	}
	r.create = r.create[:min(len(r.create), burst)]
	r.remove = r.remove[:min(len(r.remove), burst)]
	return r.plan
}

func (r *rollout) sort() {
	byNode := map[string][]*corev1.Pod{}
	for _, pod := range r.pods {
		byNode[nodeOf(pod)] = append(byNode[nodeOf(pod)], pod)
	}
	fit := newFitness(r.ds)
	for _, node := range r.nodes {
		p := &place{node: node, pods: byNode[node.Name]}
		delete(byNode, node.Name)
		p.run, p.stay = fit.of(node)
		slices.SortFunc(p.pods, byAge)
		r.places = append(r.places, p)
	}
	for _, node := range slices.Sorted(maps.Keys(byNode)) {
		for _, pod := range byNode[node] {
			if pod.Spec.NodeName == "" && pod.DeletionTimestamp == nil {
				r.gone = append(r.gone, pod)
			}
		}
	}
}

func byAge(a, b *corev1.Pod) int {
	if c := a.CreationTimestamp.Compare(b.CreationTimestamp.Time); c != 0 {
		return c
	}
	return cmp.Compare(a.Name, b.Name)
}

// manage makes the pod that the node lacks and removes those that it should not have.
func (r *rollout) manage(p *place) {
	switch {
	case p.run && len(p.pods) == 0:
		r.create = append(r.create, p.node.Name)
	case !p.stay:
		for _, pod := range p.pods {
			r.drop(pod)
		}
	default:
		r.spareOne(p)
	}
}

func (r *rollout) drop(pod *corev1.Pod) {
	if pod.DeletionTimestamp == nil {
		r.remove = append(r.remove, pod)
	}
}

// spareOne removes pods that have ended and all running ones but the oldest, or while surging but the
// oldest of each template.
func (r *rollout) spareOne(p *place) {
	var old, updated *corev1.Pod
	for _, pod := range p.pods {
		switch {
		case pod.DeletionTimestamp != nil:
		case pod.Status.Phase == corev1.PodFailed || pod.Status.Phase == corev1.PodSucceeded:
			r.end(p, pod)
		case r.surge() == 0 && (old != nil || updated != nil):
			r.drop(pod)
		case r.updated(pod) && updated == nil:
			updated = pod
		case !r.updated(pod) && old == nil:
			old = pod
		default:
			r.drop(pod)
		}
	}
}

func (r *rollout) end(p *place, pod *corev1.Pod) {
	if pod.Status.Phase == corev1.PodFailed {
		if left := r.hold(p.node.Name); left > 0 {
			r.wake(left)
			return
		}
	}
	r.ended = append(r.ended, pod)
	r.drop(pod)
}

func (r *rollout) updated(pod *corev1.Pod) bool {
	return pod.Labels[appsv1.DefaultDaemonSetUniqueLabelKey] == r.hash
}

// pair is the node's running pods of the present template and of another.
func (r *rollout) pair(p *place) (updated, old *corev1.Pod) {
	for _, pod := range p.pods {
		switch {
		case pod.DeletionTimestamp != nil:
		case r.updated(pod) && updated == nil:
			updated = pod
		case !r.updated(pod) && old == nil:
			old = pod
		}
	}
	return updated, old
}

// roll removes pods of former templates: those that are not available, and others as long as not more
// nodes than allowed are without one that is.
func (r *rollout) roll() {
	spare := max(r.share(r.rolling().MaxUnavailable), 1)
	var candidates []*corev1.Pod
	for _, p := range r.places {
		if !p.run {
			continue
		}
		updated, old := r.pair(p)
		switch {
		case updated != nil && old == nil:
			if !r.available(updated) {
				spare--
			}
		case updated == nil && old != nil:
			if r.available(old) {
				candidates = append(candidates, old)
			} else {
				r.replace(old)
			}
		default:
			spare-- // a pod is to come or to go here
		}
	}
	for _, pod := range candidates[:max(0, min(spare, len(candidates)))] {
		r.replace(pod)
	}
}

// rollSurging makes new pods beside old ones on so many nodes as allowed, and removes the old one where
// the new one is available.
func (r *rollout) rollSurging(spare int) {
	var candidates []string
	for _, p := range r.places {
		if !p.run {
			continue
		}
		updated, old := r.pair(p)
		switch {
		case old == nil:
		case updated == nil && !r.available(old):
			r.create = append(r.create, p.node.Name)
		case updated == nil:
			candidates = append(candidates, p.node.Name)
		case r.available(updated) || !ready(old):
			r.replace(old)
			if !r.available(updated) {
				spare--
			}
		default:
			spare--
		}
	}
	r.create = append(r.create, candidates[:max(0, min(spare, len(candidates)))]...)
}

func (r *rollout) replace(pod *corev1.Pod) {
	ended := pod.Status.Phase == corev1.PodFailed || pod.Status.Phase == corev1.PodSucceeded
	if !ended && !slices.Contains(r.remove, pod) {
		r.drop(pod)
	}
}

func (r *rollout) rolling() appsv1.RollingUpdateDaemonSet {
	if u := r.ds.Spec.UpdateStrategy.RollingUpdate; u != nil {
		return *u
	}
	return appsv1.RollingUpdateDaemonSet{}
}

func (r *rollout) surge() int {
	if r.ds.Spec.UpdateStrategy.Type == appsv1.OnDeleteDaemonSetStrategyType {
		return 0
	}
	return r.share(r.rolling().MaxSurge)
}

// share resolves a number or a part of the wanted pods, rounded up.
func (r *rollout) share(v *intstr.IntOrString) int {
	if v == nil {
		return 0
	}
	n, err := intstr.GetScaledValueFromIntOrPercent(v, r.wanted, true)
	if err != nil {
		return 0
	}
	return n
}
