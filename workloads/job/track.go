package job

import (
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// track names the pods that finished in the status, so that whoever counts them later, perhaps another
// process, counts each once: a pod is named before it loses its finalizer, and counted after (KEP-2307).
// Of indexed jobs the index that succeeded is name enough.
func (d *decision) track(end *batchv1.JobCondition) {
	d.settleUncounted()
	u := d.status.UncountedTerminatedPods
	var succeeded []int
	full := false
	for _, pod := range d.pods {
		if !tracked(pod) || !d.countable(pod, end) {
			continue
		}
		if len(succeeded)+len(u.Succeeded)+len(u.Failed) >= maxUncounted {
			full = true // the events of these bring us back
			break
		}
		d.free = append(d.free, pod)
		index := indexOf(pod)
		switch valid := !indexed(d.job) || d.inRange(index); {
		case !valid || slices.Contains(u.Failed, pod.UID) || slices.Contains(u.Succeeded, pod.UID):
		case pod.Status.Phase == corev1.PodSucceeded && indexed(d.job):
			succeeded = append(succeeded, index)
		case pod.Status.Phase == corev1.PodSucceeded:
			u.Succeeded = append(u.Succeeded, pod.UID)
		case isSurplus(pod):
		case !hasFailed(d.job, pod) && (end == nil || end.Type == batchv1.JobSuccessCriteriaMet):
		case judge(d.job.Spec.PodFailurePolicy, pod).counts():
			u.Failed = append(u.Failed, pod.UID)
		}
	}
	if indexed(d.job) {
		done := d.doneBefore.union(indexesOf(succeeded...))
		d.status.CompletedIndexes, d.status.Succeeded = done.String(), int32(done.len())
		d.status.FailedIndexes = nil
		if d.job.Spec.BackoffLimitPerIndex != nil {
			d.status.FailedIndexes = new(d.spent.String())
		}
	}
	if end == nil {
		return
	}
	if c := find(d.status.Conditions, end.Type); c == nil || c.Status != corev1.ConditionTrue {
		d.set(end)
	}
	if full {
		return
	}
	kind := batchv1.JobFailed
	if end.Type == batchv1.JobSuccessCriteriaMet {
		kind = batchv1.JobComplete
	}
	d.finish = d.condition(kind, end.Reason, end.Message)
}

// countable tells that the pod needs its finalizer no longer.
func (d *decision) countable(pod *corev1.Pod, end *batchv1.JobCondition) bool {
	if d.job.DeletionTimestamp != nil || end != nil || pod.Status.Phase == corev1.PodSucceeded {
		return true
	}
	if isSurplus(pod) {
		return pod.DeletionTimestamp != nil || pod.Status.Phase == corev1.PodFailed
	}
	return hasFailed(d.job, pod) && d.last[indexOf(pod)] != pod
}

// settle returns the status after pods were freed: they are counted, and when nothing is left to count and
// no pod left to end, the job is finished.
func (p *plan) settle(freed []types.UID) batchv1.JobStatus {
	after := plan{status: *p.status.DeepCopy(), held: p.held.Clone().Delete(freed...)}
	after.settleUncounted()
	u := after.status.UncountedTerminatedPods
	if p.finish == nil || len(u.Succeeded)+len(u.Failed) > 0 || *after.status.Terminating > 0 {
		return after.status
	}
	after.status.Conditions = append(after.status.Conditions, *p.finish)
	if p.finish.Type == batchv1.JobComplete {
		after.status.CompletionTime = &p.finish.LastTransitionTime
	}
	return after.status
}

// settleUncounted counts the named pods that have lost their finalizer.
func (p *plan) settleUncounted() {
	u := p.status.UncountedTerminatedPods
	free := func(uid types.UID) bool { return !p.held.Has(uid) }
	before := len(u.Succeeded)
	u.Succeeded = slices.DeleteFunc(u.Succeeded, free)
	p.status.Succeeded += int32(before - len(u.Succeeded))
	before = len(u.Failed)
	u.Failed = slices.DeleteFunc(u.Failed, free)
	p.status.Failed += int32(before - len(u.Failed))
}

// farewell are the events of a job that has just ended.
func farewell(job *batchv1.Job, c *batchv1.JobCondition) []event {
	if c.Type == batchv1.JobFailed {
		return []event{{corev1.EventTypeWarning, c.Reason, c.Message}}
	}
	done := event{corev1.EventTypeNormal, "Completed", "Job completed"}
	if n := job.Spec.Completions; n != nil && job.Status.Succeeded > *n {
		return []event{{corev1.EventTypeWarning, "TooManySucceededPods", "Too many succeeded pods running after completion count reached"}, done}
	}
	return []event{done}
}
