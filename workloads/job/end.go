package job

import (
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
)

// ending is the condition by which the job ends whatever its active pods do: SuccessCriteriaMet or
// FailureTarget. What was decided before stays.
func (d *decision) ending() *batchv1.JobCondition {
	for _, kind := range []batchv1.JobConditionType{batchv1.JobSuccessCriteriaMet, batchv1.JobFailureTarget} {
		if c := find(d.status.Conditions, kind); c != nil && c.Status == corev1.ConditionTrue {
			return c
		}
	}
	if why := d.fatal(); why != "" {
		return d.failure(batchv1.JobReasonPodFailurePolicy, why)
	}
	if d.failed > int(*d.job.Spec.BackoffLimit) || d.restartsExceeded() {
		return d.failure(batchv1.JobReasonBackoffLimitExceeded, "Job has reached the specified backoff limit")
	}
	if d.pastDeadline() {
		return d.failure(batchv1.JobReasonDeadlineExceeded, "Job was active longer than specified deadline")
	}
	if !indexed(d.job) {
		return nil
	}
	if most := d.job.Spec.MaxFailedIndexes; most != nil && d.spent.len() > int(*most) {
		return d.failure(batchv1.JobReasonMaxFailedIndexesExceeded, "Job has exceeded the specified maximal number of failed indexes")
	}
	if d.spent.len() > 0 && d.spent.len()+d.done.len() >= d.completions() {
		return d.failure(batchv1.JobReasonFailedIndexes, "Job has failed indexes")
	}
	if msg, ok := succeeds(d.job.Spec.SuccessPolicy, d.done, d.completions()); ok {
		return d.condition(batchv1.JobSuccessCriteriaMet, batchv1.JobReasonSuccessPolicy, msg)
	}
	return nil
}

// completion is the condition by which the job ends because all is done and nothing runs any longer.
func (d *decision) completion() *batchv1.JobCondition {
	enough := d.succeeded > 0
	if d.job.Spec.Completions != nil {
		enough = d.succeeded >= d.completions()
	}
	if !enough || len(d.active)+len(d.create) > 0 {
		return nil
	}
	return d.condition(batchv1.JobSuccessCriteriaMet, batchv1.JobReasonCompletionsReached, "Reached expected number of succeeded pods")
}

// fatal is why a failed pod makes the job fail, by the policy.
func (d *decision) fatal() string {
	if d.job.Spec.PodFailurePolicy == nil {
		return ""
	}
	for _, pod := range d.pods {
		if !hasFailed(d.job, pod) {
			continue
		}
		if v := judge(d.job.Spec.PodFailurePolicy, pod); v.action == batchv1.PodFailurePolicyActionFailJob {
			return v.why
		}
	}
	return ""
}

// restartsExceeded counts the restarts of containers where pods restart theirs themselves.
func (d *decision) restartsExceeded() bool {
	if d.job.Spec.Template.Spec.RestartPolicy != corev1.RestartPolicyOnFailure {
		return false
	}
	restarts := int32(0)
	for _, pod := range d.pods {
		if pod.Status.Phase != corev1.PodRunning && pod.Status.Phase != corev1.PodPending {
			continue
		}
		for _, list := range [][]corev1.ContainerStatus{pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses} {
			for i := range list {
				restarts += list[i].RestartCount
			}
		}
	}
	return restarts > 0 && restarts >= *d.job.Spec.BackoffLimit
}

func (d *decision) pastDeadline() bool {
	seconds, start := d.job.Spec.ActiveDeadlineSeconds, d.status.StartTime
	if seconds == nil || start == nil || suspended(d.job) {
		return false
	}
	left := time.Duration(*seconds)*time.Second - d.now.Sub(start.Time)
	d.wake(left)
	return left <= 0
}

// noteSuspension keeps the condition Suspended, and starts the clock anew when the job goes on.
func (d *decision) noteSuspension() {
	c := find(d.status.Conditions, batchv1.JobSuspended)
	switch was := c != nil && c.Status == corev1.ConditionTrue; {
	case suspended(d.job) && !was:
		d.set(d.condition(batchv1.JobSuspended, "JobSuspended", "Job suspended"))
		d.status.StartTime = nil
		d.events = append(d.events, event{corev1.EventTypeNormal, "Suspended", "Job suspended"})
	case !suspended(d.job) && was:
		resumed := d.condition(batchv1.JobSuspended, "JobResumed", "Job resumed")
		resumed.Status = corev1.ConditionFalse
		d.set(resumed)
		d.status.StartTime = d.stamp()
		d.events = append(d.events, event{corev1.EventTypeNormal, "Resumed", "Job resumed"})
	}
}

func (d *decision) failure(reason, message string) *batchv1.JobCondition {
	return d.condition(batchv1.JobFailureTarget, reason, message)
}

func (d *decision) condition(kind batchv1.JobConditionType, reason, message string) *batchv1.JobCondition {
	at := *d.stamp()
	return &batchv1.JobCondition{Type: kind, Status: corev1.ConditionTrue, Reason: reason, Message: message, LastProbeTime: at, LastTransitionTime: at}
}

// set puts a condition in the place of the one of its type.
func (d *decision) set(c *batchv1.JobCondition) {
	if had := find(d.status.Conditions, c.Type); had != nil {
		*had = *c
		return
	}
	d.status.Conditions = append(d.status.Conditions, *c)
}

func find(list []batchv1.JobCondition, kind batchv1.JobConditionType) *batchv1.JobCondition {
	for i := range list {
		if list[i].Type == kind {
			return &list[i]
		}
	}
	return nil
}

// finished tells that the job has ended, by which condition.
func finished(job *batchv1.Job) bool {
	for _, kind := range []batchv1.JobConditionType{batchv1.JobComplete, batchv1.JobFailed} {
		if c := find(job.Status.Conditions, kind); c != nil && c.Status == corev1.ConditionTrue {
			return true
		}
	}
	return false
}
