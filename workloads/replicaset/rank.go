package replicaset

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// leastValuable picks n pods to delete. Pods that serve least go first: those without a node, then
// pending, then unready ones; among equals those of a lower deletion cost, on a node with more related
// pods, ready for a shorter time, restarted more often, younger. Times are compared by their order of
// magnitude, as Kubernetes does, so that not always the very youngest goes.
//
// related are the live pods that count for doubling up on a node.
func leastValuable(pods, related []*corev1.Pod, n int, now time.Time) []*corev1.Pod {
	if n >= len(pods) {
		return pods
	}
	onNode := map[string]int{}
	for _, pod := range related {
		if pod.Spec.NodeName != "" {
			onNode[pod.Spec.NodeName]++
		}
	}
	ranks := make([]rank, len(pods))
	for i, pod := range pods {
		ranks[i] = rankOf(pod, onNode[pod.Spec.NodeName], now)
	}
	slices.SortStableFunc(ranks, rank.compare)
	out := make([]*corev1.Pod, n)
	for i := range out {
		out[i] = ranks[i].pod
	}
	return out
}

// rank holds what a pod is judged by; smaller numbers go first.
type rank struct {
	pod *corev1.Pod
	by  [9]int64
}

func (r rank) compare(other rank) int {
	if c := slices.Compare(r.by[:], other.by[:]); c != 0 {
		return c
	}
	return cmp.Compare(r.pod.UID, other.pod.UID)
}

func rankOf(pod *corev1.Pod, doubled int, now time.Time) rank {
	since, ready := readySince(pod)
	r := rank{pod: pod, by: [9]int64{
		flag(pod.Spec.NodeName != ""), phase(pod), flag(ready), deletionCost(pod), -int64(doubled),
		0, -restarts(pod.Status.ContainerStatuses), -sidecarRestarts(pod), magnitude(now.Sub(pod.CreationTimestamp.Time)),
	}}
	if ready {
		r.by[5] = magnitude(now.Sub(since))
	}
	return r
}

func flag(on bool) int64 {
	if on {
		return 1
	}
	return 0
}

func phase(pod *corev1.Pod) int64 {
	switch pod.Status.Phase {
	case corev1.PodRunning:
		return 2
	case corev1.PodUnknown:
		return 1
	}
	return 0
}

func deletionCost(pod *corev1.Pod) int64 {
	cost, err := strconv.ParseInt(pod.Annotations[corev1.PodDeletionCost], 10, 32)
	if err != nil {
		return 0
	}
	return cost
}

func restarts(list []corev1.ContainerStatus) int64 {
	most := int32(0)
	for _, s := range list {
		most = max(most, s.RestartCount)
	}
	return int64(most)
}

// sidecarRestarts counts for the init containers that run all the time.
func sidecarRestarts(pod *corev1.Pod) int64 {
	sidecars := map[string]bool{}
	for i := range pod.Spec.InitContainers {
		c := &pod.Spec.InitContainers[i]
		sidecars[c.Name] = c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
	}
	return restarts(slices.DeleteFunc(slices.Clone(pod.Status.InitContainerStatuses), func(s corev1.ContainerStatus) bool { return !sidecars[s.Name] }))
}

func magnitude(d time.Duration) int64 {
	if d <= 0 {
		return -1
	}
	return int64(math.Log2(float64(d)))
}
