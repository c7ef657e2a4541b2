package deployment

import (
	"strconv"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// plan is what to do about one Deployment.
type plan struct {
	// create is the set of a new template.
	create *appsv1.ReplicaSet
	// write are the sets as they should be, in the order of the writes; many are unchanged.
	write  []change
	remove []*appsv1.ReplicaSet
	// back is the set whose template the Deployment should have again, and why; nothing else is done then.
	back *appsv1.ReplicaSet
	why  string
	// revision is what the Deployment's annotation should say, "" for no change.
	revision string
	status   appsv1.DeploymentStatus
	// wakeAfter is when the progress deadline passes, 0 for never.
	wakeAfter time.Duration
}

type change struct{ from, to *appsv1.ReplicaSet }

// rollout is a Deployment and copies of its sets on which the plan is made.
type rollout struct {
	d       *appsv1.Deployment
	new     *appsv1.ReplicaSet // nil when there is none
	old     []*appsv1.ReplicaSet
	surge   int32
	missing int32 // how many pods may be unavailable
	found   bool  // the new set existed before
	conds   appsv1.DeploymentStatus
	now     time.Time
}

// decide compares a Deployment with its ReplicaSets.
func decide(d *appsv1.Deployment, sets []*appsv1.ReplicaSet, now time.Time) plan {
	var p plan
	copies := make([]*appsv1.ReplicaSet, len(sets))
	for i, rs := range sets {
		copies[i] = rs.DeepCopy()
		p.write = append(p.write, change{rs, copies[i]})
	}
	r := &rollout{d: d, now: now}
	r.surge, r.missing = fenceposts(d)
	r.new, r.old = split(d, copies)
	r.found = r.new != nil
	r.conds.Conditions = d.Status.DeepCopy().Conditions
	if d.DeletionTimestamp != nil || d.Spec.Selector == nil {
		p.status = r.statusOnly()
		p.write = nil
		return p
	}
	if last := r.fallback(); last != nil {
		return plan{back: last, why: r.reason(), revision: r.new.Annotations[revisionAnnotation], status: d.Status}
	}
	r.notePause()
	if r.found {
		r.renew()
	}
	switch {
	case d.Spec.Paused:
		r.scale()
		p.remove = r.tidy()
		p.status = r.statusOnly()
	case r.scaling():
		r.scale()
		p.status = r.statusOnly()
	default:
		p.create = r.roll()
		p.status, p.wakeAfter = r.progress()
		r.remember(&p.status)
		p.remove = r.tidy()
	}
	if r.new != nil {
		p.revision = r.new.Annotations[revisionAnnotation]
	}
	p.order()
	return p
}

// order puts sets that grow before sets that shrink.
func (p *plan) order() {
	var first, last []change
	for _, w := range p.write {
		if sizeOf(w.to) > sizeOf(w.from) {
			first = append(first, w)
		} else {
			last = append(last, w)
		}
	}
	p.write = append(first, last...)
}

// renew keeps the annotations and the readiness time of the new set as the Deployment's.
func (r *rollout) renew() {
	annotate(r.d, r.new, nextRevision(r.old))
	r.new.Spec.MinReadySeconds = r.d.Spec.MinReadySeconds
	if hasDeadline(r.d) && find(&r.conds, appsv1.DeploymentProgressing) == nil {
		setCondition(&r.conds, condition(appsv1.DeploymentProgressing, corev1.ConditionTrue, "FoundNewReplicaSet",
			"Found new replica set "+strconv.Quote(r.new.Name), r.now))
	}
}

// roll moves the sets towards the template and returns the new set when it has to be made.
func (r *rollout) roll() *appsv1.ReplicaSet {
	recreate := r.d.Spec.Strategy.Type == appsv1.RecreateDeploymentStrategyType
	if recreate && !r.emptyOld() {
		return nil
	}
	var made *appsv1.ReplicaSet
	if r.new == nil {
		rs, err := newSet(r.d)
		if err != nil {
			return nil
		}
		annotate(r.d, rs, nextRevision(r.old))
		r.new, made = rs, rs
		if hasDeadline(r.d) {
			setCondition(&r.conds, condition(appsv1.DeploymentProgressing, corev1.ConditionTrue, "NewReplicaSetCreated",
				"Created new replica set "+strconv.Quote(rs.Name), r.now))
		}
	}
	if recreate {
		r.resize(r.new, desired(r.d))
		return made
	}
	r.resize(r.new, r.newSize())
	r.shrinkOld()
	return made
}

// emptyOld scales the old sets down and tells whether their pods are gone.
func (r *rollout) emptyOld() bool {
	gone := true
	for _, rs := range r.old {
		if sizeOf(rs) > 0 {
			r.resize(rs, 0)
			gone = false
		}
		s := &rs.Status
		if s.ObservedGeneration < rs.Generation || s.Replicas > 0 || s.TerminatingReplicas != nil && *s.TerminatingReplicas > 0 {
			gone = false
		}
	}
	return gone
}

// tidy is what the history limit no longer keeps, once the Deployment is complete.
func (r *rollout) tidy() []*appsv1.ReplicaSet {
	s := r.statusOnly()
	if !complete(r.d, &s) {
		return nil
	}
	return outdated(r.d, r.old)
}

func (r *rollout) all() []*appsv1.ReplicaSet {
	if r.new == nil {
		return r.old
	}
	return append(append([]*appsv1.ReplicaSet{}, r.old...), r.new)
}

// resize sets the size and the annotations that tell later for which size of the Deployment it was.
func (r *rollout) resize(rs *appsv1.ReplicaSet, n int32) {
	rs.Spec.Replicas = &n
	if rs.Annotations == nil {
		rs.Annotations = map[string]string{}
	}
	rs.Annotations[desiredAnnotation] = strconv.Itoa(int(desired(r.d)))
	rs.Annotations[maxAnnotation] = strconv.Itoa(int(desired(r.d) + r.surge))
}

func desired(d *appsv1.Deployment) int32 {
	if d.Spec.Replicas == nil {
		return 1
	}
	return *d.Spec.Replicas
}

func sizeOf(rs *appsv1.ReplicaSet) int32 {
	if rs.Spec.Replicas == nil {
		return 1
	}
	return *rs.Spec.Replicas
}

func total(sets []*appsv1.ReplicaSet) int32 {
	n := int32(0)
	for _, rs := range sets {
		n += sizeOf(rs)
	}
	return n
}

// fenceposts resolves how many pods may exist beyond the wanted ones and how many may be unavailable:
// surge is rounded up, unavailable down, and when both are zero one may be unavailable.
func fenceposts(d *appsv1.Deployment) (surge, missing int32) {
	ru := d.Spec.Strategy.RollingUpdate
	if d.Spec.Strategy.Type == appsv1.RecreateDeploymentStrategyType || ru == nil {
		return 0, 0
	}
	share := func(v *intstr.IntOrString, up bool) int32 {
		n, err := intstr.GetScaledValueFromIntOrPercent(intstr.ValueOrDefault(v, intstr.FromInt32(0)), int(desired(d)), up)
		if err != nil {
			return 0
		}
		return int32(n)
	}
	surge, missing = share(ru.MaxSurge, true), share(ru.MaxUnavailable, false)
	if surge == 0 && missing == 0 {
		missing = 1
	}
	return surge, min(missing, desired(d))
}
