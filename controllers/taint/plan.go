package taint

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"
)

// decide returns the pods that have to go now, and when the next one has to, 0 for never. All taints have
// the effect NoExecute.
func decide(taints []corev1.Taint, pods []*corev1.Pod, now time.Time) ([]*corev1.Pod, time.Duration) {
	var doomed []*corev1.Pod
	var wake time.Duration
	for _, pod := range pods {
		if pod.DeletionTimestamp != nil || ended(pod) {
			continue
		}
		end, ends := until(taints, pod)
		left := end.Sub(now)
		switch {
		case !ends:
		case left <= 0:
			doomed = append(doomed, pod)
		case wake == 0 || left < wake:
			wake = left
		}
	}
	return doomed, wake
}

// until is how long the pod may stay; false means for ever. Of several tolerations of a taint the
// shortest counts, from when the taint was added or, if that was later, the pod created. A taint that
// nothing tolerates ends it at once.
func until(taints []corev1.Taint, pod *corev1.Pod) (time.Time, bool) {
	var end time.Time
	ends := false
	for i := range taints {
		tolerated := false
		from := pod.CreationTimestamp.Time
		if added := taints[i].TimeAdded; added != nil && added.After(from) {
			from = added.Time
		}
		for j := range pod.Spec.Tolerations {
			t := &pod.Spec.Tolerations[j]
			if !t.ToleratesTaint(klog.Logger{}, &taints[i], true) {
				continue
			}
			tolerated = true
			if t.TolerationSeconds == nil {
				continue
			}
			at := from.Add(time.Duration(max(0, *t.TolerationSeconds)) * time.Second)
			if !ends || at.Before(end) {
				end, ends = at, true
			}
		}
		if !tolerated {
			return time.Time{}, true
		}
	}
	return end, ends
}
