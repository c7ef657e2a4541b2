package daemonset

import (
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
)

func ready(pod *corev1.Pod) bool {
	_, is := readySince(pod)
	return is
}

func readySince(pod *corev1.Pod) (time.Time, bool) {
	for i := range pod.Status.Conditions {
		if c := &pod.Status.Conditions[i]; c.Type == corev1.PodReady {
			return c.LastTransitionTime.Time, c.Status == corev1.ConditionTrue
		}
	}
	return time.Time{}, false
}

// available tells that the pod has been ready for long enough; one that soon will be wakes the controller.
func (r *rollout) available(pod *corev1.Pod) bool {
	since, is := readySince(pod)
	if !is {
		return false
	}
	if r.ds.Spec.MinReadySeconds == 0 {
		return true
	}
	left := time.Duration(r.ds.Spec.MinReadySeconds)*time.Second - r.now.Sub(since)
	if left > 0 {
		r.wake(left)
	}
	return left <= 0
}

func (r *rollout) wake(after time.Duration) {
	if r.wakeAfter == 0 || after < r.wakeAfter {
		r.wakeAfter = after
	}
}

// count makes the status; of several pods on a node the oldest counts.
func (r *rollout) count() {
	s := &r.status
	*s = appsv1.DaemonSetStatus{
		ObservedGeneration: r.ds.Generation, DesiredNumberScheduled: int32(r.wanted),
		CollisionCount: r.collisions, Conditions: r.ds.Status.Conditions,
	}
	for _, p := range r.places {
		switch {
		case len(p.pods) == 0:
		case !p.run:
			s.NumberMisscheduled++
		default:
			s.CurrentNumberScheduled++
			if ready(p.pods[0]) {
				s.NumberReady++
				if r.available(p.pods[0]) {
					s.NumberAvailable++
				}
			}
			if r.updated(p.pods[0]) {
				s.UpdatedNumberScheduled++
			}
		}
	}
	s.NumberUnavailable = s.DesiredNumberScheduled - s.NumberAvailable
}
