package job

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
)

// manage decides which pods there should be. It either removes or creates, never both at once.
func (d *decision) manage() {
	want := d.wanted()
	surplus := d.surplus(len(d.active) - want)
	for _, pod := range surplus {
		if isReady(pod) {
			d.ready--
		}
	}
	d.active = slices.DeleteFunc(slices.Clone(d.active), func(pod *corev1.Pod) bool { return slices.Contains(surplus, pod) })
	if d.remove = append(d.remove, surplus...); len(d.remove) > 0 {
		d.terminating += len(d.remove)
		return
	}
	missing := want - len(d.active)
	if replacesOnlyFailed(d.job) {
		missing -= d.terminating
	}
	if missing <= 0 {
		return
	}
	missing = min(missing, burst)
	if !indexed(d.job) {
		if d.backsOff() {
			return
		}
		d.create = slices.Repeat([]slot{{index: noIndex}}, missing)
		return
	}
	d.createIndexes(missing)
}

// wanted is how many pods should be active. Once a pod of a work queue succeeded, no further one is started.
func (d *decision) wanted() int {
	parallelism := int(*d.job.Spec.Parallelism)
	switch {
	case suspended(d.job):
		return 0
	case d.job.Spec.Completions != nil:
		return max(0, min(d.completions()-d.succeeded, parallelism))
	case d.succeeded > 0:
		return len(d.active)
	}
	return parallelism
}

func (d *decision) backsOff() bool {
	wait := d.plan.backoff.wait(d.base, d.most, d.now)
	d.wake(wait)
	return wait > 0
}

// createIndexes fills the lowest indexes that nothing was done for. With a limit for each index, each waits
// for its own failures.
func (d *decision) createIndexes(missing int) {
	each := d.job.Spec.BackoffLimitPerIndex != nil
	if !each && d.backsOff() {
		return
	}
	taken := d.done.union(d.spent).union(indexesOfPods(d.active))
	if replacesOnlyFailed(d.job) {
		taken = taken.union(indexesOfPods(slices.DeleteFunc(slices.Clone(d.pods), func(pod *corev1.Pod) bool {
			return pod.DeletionTimestamp == nil || pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
		})))
	}
	var first time.Duration
	for _, index := range taken.missing(missing, d.completions()) {
		s := slot{index: index}
		if last := d.last[index]; last != nil {
			wait := backoff{int(failures(last)+ignoredFailures(last)) + 1, finishTime(last)}.wait(d.base, d.most, d.now)
			if wait > 0 {
				if first == 0 || wait < first {
					first = wait
				}
				continue
			}
			s.failures, s.ignored = failures(last), ignoredFailures(last)
			if judge(d.job.Spec.PodFailurePolicy, last).counts() {
				s.failures++
			} else {
				s.ignored++
			}
		}
		d.create = append(d.create, s)
	}
	d.wake(first)
}

// surplus are at least n of the active pods, the least valuable first. Of indexed jobs those go before all
// others whose index is doubled or of no use.
func (d *decision) surplus(n int) []*corev1.Pod {
	var out []*corev1.Pod
	left := slices.SortedStableFunc(slices.Values(d.active), leastValuable)
	if indexed(d.job) {
		kept := map[int]bool{}
		rest := left[:0:0]
		for _, pod := range slices.Backward(left) {
			if index := indexOf(pod); !d.inRange(index) || kept[index] {
				out = append(out, pod)
			} else {
				kept[index] = true
				rest = append(rest, pod)
			}
		}
		slices.Reverse(rest)
		left = rest
	}
	if more := n - len(out); more > 0 {
		out = append(out, left[:more]...)
	}
	return out[:min(len(out), burst)]
}

// leastValuable orders pods in earlier stages first: unscheduled, pending, not ready, ready for a shorter
// time, restarted more often, younger.
func leastValuable(a, b *corev1.Pod) int {
	phase := func(pod *corev1.Pod) int {
		return slices.Index([]corev1.PodPhase{corev1.PodPending, corev1.PodUnknown, corev1.PodRunning}, pod.Status.Phase)
	}
	return cmp.Or(
		truth(a.Spec.NodeName != "")-truth(b.Spec.NodeName != ""),
		phase(a)-phase(b),
		truth(isReady(a))-truth(isReady(b)),
		readySince(b).Compare(readySince(a)),
		cmp.Compare(restarts(b), restarts(a)),
		b.CreationTimestamp.Compare(a.CreationTimestamp.Time),
	)
}

func truth(b bool) int {
	if b {
		return 1
	}
	return 0
}

func readySince(pod *corev1.Pod) time.Time {
	for i := range pod.Status.Conditions {
		if c := &pod.Status.Conditions[i]; c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
			return c.LastTransitionTime.Time
		}
	}
	return time.Time{}
}

func restarts(pod *corev1.Pod) int32 {
	most := int32(0)
	for i := range pod.Status.ContainerStatuses {
		most = max(most, pod.Status.ContainerStatuses[i].RestartCount)
	}
	return most
}

// lastFailed are, for each index that waits for another pod, its failed pods that failed last. They keep
// their finalizer until then, because they alone know how often their index has failed.
func (d *decision) lastFailed() map[int]*corev1.Pod {
	busy := indexesOfPods(d.active)
	out := map[int]*corev1.Pod{}
	for _, pod := range d.pods {
		index := indexOf(pod)
		if !tracked(pod) || !d.inRange(index) || !hasFailed(d.job, pod) || d.done.has(index) || d.spent.has(index) || busy.has(index) {
			continue
		}
		had := out[index]
		if had == nil || failures(had)+ignoredFailures(had) <= failures(pod)+ignoredFailures(pod) && !finishTime(pod).Before(finishTime(had)) {
			out[index] = pod
		}
	}
	return out
}

// indexSpent tells that no further pod is to be tried for the index of a pod.
func indexSpent(job *batchv1.Job, pod *corev1.Pod) bool {
	if !hasFailed(job, pod) {
		return false
	}
	v := judge(job.Spec.PodFailurePolicy, pod)
	return v.action == batchv1.PodFailurePolicyActionFailIndex || v.counts() && failures(pod) >= *job.Spec.BackoffLimitPerIndex
}

// failures is how often the pod's index had failed before it was made.
func failures(pod *corev1.Pod) int32 {
	return number(pod.Annotations[batchv1.JobIndexFailureCountAnnotation])
}

func ignoredFailures(pod *corev1.Pod) int32 {
	return number(pod.Annotations[batchv1.JobIndexIgnoredFailureCountAnnotation])
}

// number reads a count; what is none counts as 0.
func number(text string) int32 {
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil || n < 0 {
		return 0
	}
	return int32(n)
}
