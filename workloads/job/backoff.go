package job

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// backoff is what the wait before a next pod depends on: the failures since the last success.
type backoff struct {
	failures int
	last     time.Time
}

// with is the record after further pods finished.
func (b backoff) with(succeeded, failed []*corev1.Pod) backoff {
	var success time.Time
	if len(succeeded) > 0 {
		b = backoff{}
		success = slices.MaxFunc(finishTimes(succeeded), time.Time.Compare)
	}
	for _, at := range finishTimes(failed) {
		if len(succeeded) > 0 && !at.After(success) {
			continue
		}
		b.failures++
		if at.After(b.last) {
			b.last = at
		}
	}
	return b
}

// wait is how long no pod may be made yet: base after one failure, twice as long after each further one,
// most at most.
func (b backoff) wait(base, most time.Duration, now time.Time) time.Duration {
	if b.failures == 0 {
		return 0
	}
	delay := base
	for i := 1; i < b.failures && delay < most; i++ {
		delay *= 2
	}
	return max(0, min(delay, most)-now.Sub(b.last))
}

func finishTimes(pods []*corev1.Pod) []time.Time {
	out := make([]time.Time, len(pods))
	for i, pod := range pods {
		out[i] = finishTime(pod)
	}
	return out
}

// finishTime is when the last container ended; where that is not known when the pod ceased to be ready, or
// was deleted, or at last when it was made.
func finishTime(pod *corev1.Pod) time.Time {
	if at := lastExit(pod); !at.IsZero() {
		return at
	}
	for i := range pod.Status.Conditions {
		if c := &pod.Status.Conditions[i]; c.Type == corev1.PodReady && c.Status == corev1.ConditionFalse && !c.LastTransitionTime.IsZero() {
			return c.LastTransitionTime.Time
		}
	}
	if at := pod.DeletionTimestamp; at != nil {
		grace := int64(0)
		if pod.DeletionGracePeriodSeconds != nil {
			grace = *pod.DeletionGracePeriodSeconds
		}
		return at.Add(-time.Duration(grace) * time.Second)
	}
	return pod.CreationTimestamp.Time
}

// lastExit is zero unless all containers and sidecars have ended.
func lastExit(pod *corev1.Pod) time.Time {
	statuses := slices.Clone(pod.Status.ContainerStatuses)
	for i := range pod.Spec.InitContainers {
		c := &pod.Spec.InitContainers[i]
		if c.RestartPolicy == nil || *c.RestartPolicy != corev1.ContainerRestartPolicyAlways {
			continue
		}
		for k := range pod.Status.InitContainerStatuses {
			if s := pod.Status.InitContainerStatuses[k]; s.Name == c.Name {
				statuses = append(statuses, s)
			}
		}
	}
	var out time.Time
	for i := range statuses {
		t := statuses[i].State.Terminated
		if t == nil || t.FinishedAt.IsZero() {
			return time.Time{}
		}
		if t.FinishedAt.After(out) {
			out = t.FinishedAt.Time
		}
	}
	return out
}
