package deployment

import (
	"cmp"
	"math"
	"slices"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
)

// newSize is how far the new set may grow: all sets together stay within the surge.
func (r *rollout) newSize() int32 {
	want, have := desired(r.d), sizeOf(r.new)
	if have >= want {
		return want
	}
	room := want + r.surge - total(r.all())
	if room <= 0 {
		return have
	}
	return have + min(room, want-have)
}

// observed tells that the status counts the pods of the set's present size.
func observed(rs *appsv1.ReplicaSet) bool { return rs.Status.ObservedGeneration >= rs.Generation }

// available is how many pods of the set can be relied on: none while the status is of a former size.
func available(rs *appsv1.ReplicaSet) int32 {
	if !observed(rs) {
		return 0
	}
	return min(rs.Status.AvailableReplicas, sizeOf(rs))
}

// shrinkOld takes pods from old sets as long as enough stay available: first those that are not
// available anyway, then others.
func (r *rollout) shrinkOld() {
	if total(r.old) == 0 {
		return
	}
	least := desired(r.d) - r.missing
	spare := total(r.all()) - least - (sizeOf(r.new) - available(r.new))
	if spare <= 0 {
		return
	}
	for _, rs := range r.old {
		n := min(spare, sizeOf(rs)-available(rs))
		if n > 0 && observed(rs) {
			spare -= n
			r.resize(rs, sizeOf(rs)-n)
		}
	}
	serving := int32(0)
	for _, rs := range r.all() {
		serving += available(rs)
	}
	spare = serving - least
	for _, rs := range r.old {
		n := min(spare, sizeOf(rs))
		if n > 0 {
			spare -= n
			r.resize(rs, sizeOf(rs)-n)
		}
	}
}

// scaling tells that the Deployment was resized since its sets were. Recreate has no need of it: it never
// keeps pods of two sets.
func (r *rollout) scaling() bool {
	if r.d.Spec.Strategy.Type == appsv1.RecreateDeploymentStrategyType {
		return false
	}
	for _, rs := range r.all() {
		if n, ok := number(rs, desiredAnnotation); ok && sizeOf(rs) > 0 && n != desired(r.d) {
			return true
		}
	}
	return false
}

func number(rs *appsv1.ReplicaSet, annotation string) (int32, bool) {
	n, err := strconv.ParseInt(rs.Annotations[annotation], 10, 32)
	return int32(n), err == nil
}

// scale resizes the sets without moving between templates: one set alone follows the Deployment; several
// share the difference by their sizes.
func (r *rollout) scale() {
	if only := r.activeOrLatest(); only != nil {
		r.resize(only, desired(r.d))
		return
	}
	if r.saturated() {
		for _, rs := range r.old {
			if sizeOf(rs) > 0 {
				r.resize(rs, 0)
			}
		}
		return
	}
	if r.d.Spec.Strategy.Type != appsv1.RecreateDeploymentStrategyType {
		r.share()
	}
}

// activeOrLatest is the only set with pods; when none has any the new one or else the latest; nil when
// several have.
func (r *rollout) activeOrLatest() *appsv1.ReplicaSet {
	var active []*appsv1.ReplicaSet
	for _, rs := range r.all() {
		if sizeOf(rs) > 0 {
			active = append(active, rs)
		}
	}
	switch {
	case len(active) == 1:
		return active[0]
	case len(active) > 1:
		return nil
	case r.new != nil:
		return r.new
	case len(r.old) > 0:
		return r.old[len(r.old)-1]
	}
	return nil
}

func (r *rollout) saturated() bool {
	if r.new == nil {
		return false
	}
	noted, _ := number(r.new, desiredAnnotation)
	want := desired(r.d)
	return sizeOf(r.new) == want && noted == want && r.new.Status.AvailableReplicas == want
}

// share spreads the difference over all sets that have pods, in proportion to their sizes; what rounding
// leaves goes to the biggest.
func (r *rollout) share() {
	var active []*appsv1.ReplicaSet
	for _, rs := range r.all() {
		if sizeOf(rs) > 0 {
			active = append(active, rs)
		}
	}
	if len(active) == 0 {
		return
	}
	allowed := int32(0)
	if desired(r.d) > 0 {
		allowed = desired(r.d) + r.surge
	}
	diff := allowed - total(active)
	slices.SortStableFunc(active, func(a, b *appsv1.ReplicaSet) int {
		if c := cmp.Compare(sizeOf(b), sizeOf(a)); c != 0 {
			return c
		}
		if diff > 0 {
			return byAge(b, a)
		}
		return byAge(a, b)
	})
	sizes, given := make([]int32, len(active)), int32(0)
	for i, rs := range active {
		n := r.proportion(rs, diff, given)
		sizes[i] = sizeOf(rs) + n
		given += n
	}
	sizes[0] = max(0, sizes[0]+diff-given)
	for i, rs := range active {
		r.resize(rs, sizes[i])
	}
}

// proportion is the set's part of diff, of which given is gone.
func (r *rollout) proportion(rs *appsv1.ReplicaSet, diff, given int32) int32 {
	if diff == 0 || diff == given {
		return 0
	}
	part := -sizeOf(rs)
	if desired(r.d) > 0 {
		before, ok := number(rs, maxAnnotation)
		if !ok || before == 0 {
			before = max(1, r.d.Status.Replicas)
		}
		part = int32(math.Round(float64(sizeOf(rs))*float64(desired(r.d)+r.surge)/float64(before))) - sizeOf(rs)
	}
	if diff > 0 {
		return min(part, diff-given)
	}
	return max(part, diff-given)
}
