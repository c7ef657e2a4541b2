package statefulset

import (
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// state is what is known of one StatefulSet.
type state struct {
	set *appsv1.StatefulSet
	// current is the revision that pods below the partition have, update that of the set's template.
	current, update *appsv1.ControllerRevision
	collisions      int32
	pods            []*corev1.Pod
	claims          claims
	now             time.Time
}

// plan is what to do about one StatefulSet. All of it may be done at once; claims come before pods.
type plan struct {
	makeClaims []claimOf
	keepClaims []*corev1.PersistentVolumeClaim
	create     []*corev1.Pod
	relabel    []*corev1.Pod
	remove     []*corev1.Pod
	status     appsv1.StatefulSetStatus
	// wakeAfter is when a ready pod becomes available, 0 for never.
	wakeAfter time.Duration
}

// claimOf is a claim to make, and the pod that it is for.
type claimOf struct {
	claim *corev1.PersistentVolumeClaim
	pod   *corev1.Pod
}

// rollout is a state in the making of its plan.
type rollout struct {
	state
	plan
	// replicas are the pods by their place, nil where there is none; condemned those beyond, the highest
	// ordinal first.
	replicas, condemned []*corev1.Pod
}

// decide compares a StatefulSet with its pods and claims.
func decide(s state) (plan, error) {
	r := &rollout{state: s}
	r.sort()
	r.count()
	if s.set.DeletionTimestamp != nil {
		return r.plan, nil
	}
	going, err := r.fill()
	if err != nil || !going {
		return r.plan, err
	}
	for _, pod := range r.condemned {
		r.keep(pod)
	}
	if !r.shrink() {
		return r.plan, nil
	}
	if s.set.Spec.UpdateStrategy.Type != appsv1.OnDeleteStatefulSetStrategyType {
		r.roll()
	}
	return r.plan, nil
}

func (r *rollout) ordered() bool {
	return r.set.Spec.PodManagementPolicy != appsv1.ParallelPodManagement
}

func (r *rollout) sort() {
	r.replicas = make([]*corev1.Pod, size(r.set))
	for _, pod := range r.pods {
		switch n := ordinalOf(r.set, pod.Name); {
		case inRange(r.set, n):
			r.replicas[n-firstOrdinal(r.set)] = pod
		case n >= 0:
			r.condemned = append(r.condemned, pod)
		}
	}
	slices.SortFunc(r.condemned, func(a, b *corev1.Pod) int { return ordinalOf(r.set, b.Name) - ordinalOf(r.set, a.Name) })
}

// fill makes the missing pods and replaces those that have ended. With ordered pods it goes no further
// than the first that is not available, and then tells that nothing else may go on.
func (r *rollout) fill() (bool, error) {
	for i, pod := range r.replicas {
		ordinal := firstOrdinal(r.set) + i
		switch {
		case pod == nil:
			if err := r.make(ordinal); err != nil {
				return false, err
			}
		case finished(pod):
			if pod.DeletionTimestamp == nil {
				r.remove = append(r.remove, pod)
			}
		default:
			r.tend(pod, ordinal)
		}
		if r.ordered() && !(pod != nil && r.available(pod) && pod.DeletionTimestamp == nil) {
			return false, nil
		}
	}
	return true, nil
}

// make plans the pod of an ordinal, unless the claims of a former one are still going.
func (r *rollout) make(ordinal int) error {
	from := r.update
	if r.below(ordinal) {
		from = r.current
	}
	pod, err := newPod(r.set, from, ordinal)
	if err != nil {
		return err
	}
	for i := range r.set.Spec.VolumeClaimTemplates {
		have := r.claims[claimName(r.set.Spec.VolumeClaimTemplates[i].Name, pod.Name)]
		if have != nil && stale(have, pod) {
			return nil
		}
	}
	r.claim(pod)
	r.create = append(r.create, pod)
	return nil
}

// below tells that the ordinal is kept at the current revision.
func (r *rollout) below(ordinal int) bool {
	u := r.set.Spec.UpdateStrategy
	if u.Type != appsv1.RollingUpdateStatefulSetStrategyType {
		return false
	}
	if u.RollingUpdate == nil {
		return ordinal < firstOrdinal(r.set)+int(r.set.Status.CurrentReplicas)
	}
	return ordinal < firstOrdinal(r.set)+r.partition()
}

func (r *rollout) partition() int {
	if u := r.set.Spec.UpdateStrategy.RollingUpdate; u != nil && u.Partition != nil {
		return int(*u.Partition)
	}
	return 0
}

// claim plans the claims that the pod lacks.
func (r *rollout) claim(pod *corev1.Pod) {
	for i := range r.set.Spec.VolumeClaimTemplates {
		t := &r.set.Spec.VolumeClaimTemplates[i]
		if r.claims[claimName(t.Name, pod.Name)] != nil {
			continue
		}
		claim := newClaim(r.set, t, pod.Name)
		bySet, _ := ownership(r.set, ordinalOf(r.set, pod.Name))
		own(claim, r.set, kind, bySet)
		r.makeClaims = append(r.makeClaims, claimOf{claim, pod})
	}
}

// tend repairs what belongs to a pod: its claims, their owners, and its labels.
func (r *rollout) tend(pod *corev1.Pod, ordinal int) {
	if pod.Status.Phase == corev1.PodPending {
		r.claim(pod)
	}
	r.keep(pod)
	if !identified(pod, ordinal) {
		named := pod.DeepCopy()
		identify(named, ordinal)
		r.relabel = append(r.relabel, named)
	}
}

func (r *rollout) keep(pod *corev1.Pod) {
	for i := range r.set.Spec.VolumeClaimTemplates {
		have := r.claims[claimName(r.set.Spec.VolumeClaimTemplates[i].Name, pod.Name)]
		if have == nil || stale(have, pod) && inRange(r.set, ordinalOf(r.set, pod.Name)) {
			continue
		}
		if kept := retain(r.set, pod, have); kept != nil {
			r.keepClaims = append(r.keepClaims, kept)
		}
	}
}

// shrink removes condemned pods, and tells that none is left or that the others need not wait for them.
// Ordered pods go one by one, and not before all others are available, but for the one that is not.
func (r *rollout) shrink() bool {
	if !r.ordered() {
		for _, pod := range r.condemned {
			if pod.DeletionTimestamp == nil {
				r.remove = append(r.remove, pod)
			}
		}
		return true
	}
	if len(r.condemned) == 0 {
		return true
	}
	pod := r.condemned[0]
	if pod.DeletionTimestamp == nil && (r.available(pod) || pod == r.firstUnavailable()) {
		r.remove = append(r.remove, pod)
	}
	return false
}

func (r *rollout) firstUnavailable() *corev1.Pod {
	for _, pod := range slices.Backward(r.condemned) {
		if !r.available(pod) || pod.DeletionTimestamp != nil {
			return pod
		}
	}
	return nil
}

// roll removes pods of other revisions from the highest ordinal down to the partition, so many that no
// more are unavailable than the strategy allows. One that is not available anyway costs nothing.
func (r *rollout) roll() {
	spare := r.mayMiss()
	for _, pod := range r.replicas {
		if !r.works(pod) {
			spare--
		}
	}
	for _, pod := range slices.Backward(r.replicas[min(r.partition(), len(r.replicas)):]) {
		if pod == nil || pod.DeletionTimestamp != nil || finished(pod) || revisionOf(pod) == r.update.Name {
			continue
		}
		if r.works(pod) {
			if spare <= 0 {
				continue
			}
			spare--
		}
		r.remove = append(r.remove, pod)
	}
}

func (r *rollout) works(pod *corev1.Pod) bool {
	return pod != nil && pod.DeletionTimestamp == nil && r.available(pod)
}

// mayMiss is how many pods may be unavailable during an update, at least one.
func (r *rollout) mayMiss() int {
	u := r.set.Spec.UpdateStrategy.RollingUpdate
	if u == nil || u.MaxUnavailable == nil {
		return 1
	}
	n, err := intstr.GetScaledValueFromIntOrPercent(u.MaxUnavailable, size(r.set), true)
	if err != nil {
		return 1
	}
	return max(1, n)
}

func finished(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}
