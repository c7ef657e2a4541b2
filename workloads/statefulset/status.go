package statefulset

import (
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
)

// readySince tells since when the pod is running and ready, false when it is not.
func readySince(pod *corev1.Pod) (time.Time, bool) {
	if pod.Status.Phase != corev1.PodRunning {
		return time.Time{}, false
	}
	for i := range pod.Status.Conditions {
		if c := &pod.Status.Conditions[i]; c.Type == corev1.PodReady {
			return c.LastTransitionTime.Time, c.Status == corev1.ConditionTrue
		}
	}
	return time.Time{}, false
}

// unripe is how long a ready pod has yet to be so before it counts as available.
func (r *rollout) unripe(since time.Time) time.Duration {
	if r.set.Spec.MinReadySeconds == 0 {
		return 0
	}
	return max(0, time.Duration(r.set.Spec.MinReadySeconds)*time.Second-r.now.Sub(since))
}

func (r *rollout) available(pod *corev1.Pod) bool {
	since, ready := readySince(pod)
	return ready && r.unripe(since) == 0
}

// count makes the status, and ends an update that is complete.
func (r *rollout) count() {
	s := &r.status
	*s = appsv1.StatefulSetStatus{
		ObservedGeneration: r.set.Generation, CurrentRevision: r.current.Name, UpdateRevision: r.update.Name,
		CollisionCount: &r.collisions, Conditions: r.set.Status.Conditions,
	}
	for _, pod := range r.pods {
		s.Replicas++
		if since, ready := readySince(pod); ready {
			s.ReadyReplicas++
			left := r.unripe(since)
			if left == 0 {
				s.AvailableReplicas++
			} else if r.wakeAfter == 0 || left < r.wakeAfter {
				r.wakeAfter = left
			}
		}
		if pod.DeletionTimestamp != nil {
			continue
		}
		if revisionOf(pod) == r.current.Name {
			s.CurrentReplicas++
		}
		if revisionOf(pod) == r.update.Name {
			s.UpdatedReplicas++
		}
	}
	want := int32(size(r.set))
	rolling := r.set.Spec.UpdateStrategy.Type == appsv1.RollingUpdateStatefulSetStrategyType
	if rolling && s.UpdatedReplicas == want && s.ReadyReplicas == want && s.Replicas == want {
		s.CurrentReplicas, s.CurrentRevision = s.UpdatedReplicas, s.UpdateRevision
	}
}
