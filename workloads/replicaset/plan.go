package replicaset

import (
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// burst is how many pods one reconcile creates or deletes at most.
const burst = 500

// plan is what to do about one ReplicaSet.
type plan struct {
	create int
	// surplus of the live pods are to be deleted, the least valuable first.
	surplus int
	live    []*corev1.Pod
	status  appsv1.ReplicaSetStatus
	// wakeAfter is when a ready pod becomes available, 0 for never.
	wakeAfter time.Duration
}

// decide compares a ReplicaSet with the pods that it controls.
func decide(rs *appsv1.ReplicaSet, owned []*corev1.Pod, now time.Time) plan {
	var p plan
	var terminating int32
	for _, pod := range owned {
		switch {
		case finished(pod):
		case pod.DeletionTimestamp != nil:
			terminating++
		default:
			p.live = append(p.live, pod)
		}
	}
	want := 1
	if rs.Spec.Replicas != nil {
		want = int(*rs.Spec.Replicas)
	}
	switch have := len(p.live); {
	case rs.DeletionTimestamp != nil:
	case have < want:
		p.create = min(want-have, burst)
	case have > want:
		p.surplus = min(have-want, burst)
	}
	p.status, p.wakeAfter = count(rs, p.live, now)
	p.status.TerminatingReplicas = &terminating
	return p
}

func finished(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

func count(rs *appsv1.ReplicaSet, live []*corev1.Pod, now time.Time) (appsv1.ReplicaSetStatus, time.Duration) {
	s := appsv1.ReplicaSetStatus{Replicas: int32(len(live)), ObservedGeneration: rs.Generation}
	template := labels.Set(rs.Spec.Template.Labels).AsSelectorPreValidated()
	var wake time.Duration
	for _, pod := range live {
		if template.Matches(labels.Set(pod.Labels)) {
			s.FullyLabeledReplicas++
		}
		since, ok := readySince(pod)
		if !ok {
			continue
		}
		s.ReadyReplicas++
		left := time.Duration(rs.Spec.MinReadySeconds)*time.Second - now.Sub(since)
		switch {
		case rs.Spec.MinReadySeconds == 0 || left <= 0:
			s.AvailableReplicas++
		case wake == 0 || left < wake:
			wake = left
		}
	}
	return s, wake
}

// readySince tells since when the pod is ready, false when it is not.
func readySince(pod *corev1.Pod) (time.Time, bool) {
	for i := range pod.Status.Conditions {
		if c := &pod.Status.Conditions[i]; c.Type == corev1.PodReady {
			return c.LastTransitionTime.Time, c.Status == corev1.ConditionTrue
		}
	}
	return time.Time{}, false
}

// conditions are the stored ones, with ReplicaFailure telling whether pods could be made and removed.
func conditions(rs *appsv1.ReplicaSet, p plan, acted error, now time.Time) []appsv1.ReplicaSetCondition {
	out := slices.Clone(rs.Status.Conditions)
	at := slices.IndexFunc(out, func(c appsv1.ReplicaSetCondition) bool { return c.Type == appsv1.ReplicaSetReplicaFailure })
	if acted == nil {
		if at >= 0 {
			out = slices.Delete(out, at, at+1)
		}
		return out
	}
	reason := "FailedCreate"
	if p.create == 0 {
		reason = "FailedDelete"
	}
	c := appsv1.ReplicaSetCondition{
		Type: appsv1.ReplicaSetReplicaFailure, Status: corev1.ConditionTrue,
		Reason: reason, Message: acted.Error(), LastTransitionTime: metav1.NewTime(now),
	}
	switch {
	case at < 0:
		out = append(out, c)
	case out[at].Reason != reason || out[at].Status != c.Status:
		out[at] = c
	}
	return out
}

func sameStatus(a, b *appsv1.ReplicaSetStatus) bool { return equality.Semantic.DeepEqual(a, b) }
