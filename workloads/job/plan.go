package job

import (
	"cmp"
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
)

const (
	// burst is how many pods one reconcile creates or deletes at most.
	burst = 500
	// maxUncounted bounds the UIDs in a status.
	maxUncounted = 500
)

// surplusAnnotation marks pods that a job no longer wants.
const surplusAnnotation = "jobs.gantry.dev/surplus"

// view is all that a decision depends on.
type view struct {
	job *batchv1.Job
	// pods are those that the job controls.
	pods    []*corev1.Pod
	backoff backoff
	// base and most bound the wait after failures.
	base, most time.Duration
	now        time.Time
}

// plan is what to do about one job, in this order: delete and create pods, write the status, free the
// finished pods of their finalizer, then count them ([plan.settle]).
type plan struct {
	// stop are active pods that end with the job, and count as failed unless it succeeds.
	stop []*corev1.Pod
	// remove are active pods too many. They are marked before they are deleted, so that they count as
	// nothing whoever goes on with it; but where one succeeds first, that counts.
	remove []*corev1.Pod
	create []slot
	// free are pods that the status counts, or names as not yet counted.
	free   []*corev1.Pod
	status batchv1.JobStatus
	// finish is the condition that the job ends with once all is counted and no pod is left, nil before.
	finish  *batchv1.JobCondition
	backoff backoff
	events  []event
	// wakeAfter is when time alone changes the plan, 0 for never.
	wakeAfter time.Duration
	// held are the pods that still have their finalizer.
	held sets.Set[types.UID]
}

// slot is a pod to be made.
type slot struct {
	index             int
	failures, ignored int32
}

type event struct{ kind, reason, message string }

// decision is a plan in the making.
type decision struct {
	view
	plan
	active []*corev1.Pod
	// succeeded and failed count what the status will, once all finished pods are counted.
	succeeded, failed       int
	terminating, ready      int
	doneBefore, done, spent indexes
	// last are the failed pods, by index, whose failures their replacements inherit.
	last map[int]*corev1.Pod
}

// decide compares a job that is not finished with its pods.
func decide(v view) plan {
	d := &decision{view: v}
	d.observe()
	end := d.ending()
	switch {
	case end != nil:
		d.stop = d.active
		d.active = nil
		d.terminating += len(d.stop)
		d.ready = 0
	case v.job.DeletionTimestamp == nil:
		d.manage()
	}
	if end == nil {
		if end = d.completion(); end == nil && v.job.DeletionTimestamp == nil {
			d.noteSuspension()
		}
	}
	d.status.Active = int32(len(d.active) + len(d.create))
	d.status.Ready = new(int32(d.ready))
	d.status.Terminating = new(int32(d.terminating))
	d.track(end)
	return d.plan
}

func (d *decision) observe() {
	d.status = *d.job.Status.DeepCopy()
	if d.status.UncountedTerminatedPods == nil {
		d.status.UncountedTerminatedPods = &batchv1.UncountedTerminatedPods{}
	}
	if indexed(d.job) {
		d.pods = slices.Clone(d.pods)
		slices.SortStableFunc(d.pods, func(a, b *corev1.Pod) int { return cmp.Compare(indexOf(a), indexOf(b)) })
	}
	d.held = sets.New[types.UID]()
	var succeeded, failed []*corev1.Pod
	uncounted := d.status.UncountedTerminatedPods
	for _, pod := range d.pods {
		switch {
		case pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed:
		case pod.DeletionTimestamp != nil:
			d.terminating++
		case isSurplus(pod):
			d.remove = append(d.remove, pod) // begun before
		default:
			d.active = append(d.active, pod)
			if isReady(pod) {
				d.ready++
			}
		}
		if !tracked(pod) {
			continue
		}
		d.held.Insert(pod.UID)
		switch {
		case indexed(d.job) && !d.inRange(indexOf(pod)):
		case slices.Contains(uncounted.Succeeded, pod.UID) || slices.Contains(uncounted.Failed, pod.UID):
		case pod.Status.Phase == corev1.PodSucceeded:
			succeeded = append(succeeded, pod)
		case hasFailed(d.job, pod):
			failed = append(failed, pod)
		}
	}
	d.count(succeeded, failed)
	if d.status.StartTime == nil && !suspended(d.job) {
		d.status.StartTime = d.stamp()
	}
	d.plan.backoff = d.view.backoff.with(succeeded, failed)
}

// count adds what has finished since the status was written.
func (d *decision) count(succeeded, failed []*corev1.Pod) {
	uncounted := d.status.UncountedTerminatedPods
	d.succeeded = int(d.status.Succeeded) + len(uncounted.Succeeded) + len(succeeded)
	d.failed = int(d.status.Failed) + len(uncounted.Failed)
	for _, pod := range failed {
		if judge(d.job.Spec.PodFailurePolicy, pod).counts() {
			d.failed++
		}
	}
	if !indexed(d.job) {
		return
	}
	d.doneBefore = parseIndexes(d.status.CompletedIndexes, d.completions())
	d.done = d.doneBefore.union(indexesOfPods(succeeded))
	d.succeeded = d.done.len()
	if d.job.Spec.BackoffLimitPerIndex == nil {
		return
	}
	if text := d.status.FailedIndexes; text != nil {
		d.spent = parseIndexes(*text, d.completions())
	}
	var spent []int
	for _, pod := range d.pods {
		if tracked(pod) && d.inRange(indexOf(pod)) && indexSpent(d.job, pod) {
			spent = append(spent, indexOf(pod))
		}
	}
	d.spent = d.spent.union(indexesOf(spent...))
	d.last = d.lastFailed()
}

func (d *decision) completions() int {
	if d.job.Spec.Completions == nil {
		return 0
	}
	return int(*d.job.Spec.Completions)
}

func (d *decision) inRange(index int) bool { return index != noIndex && index < d.completions() }

// stamp is now as the API stores times.
func (d *decision) stamp() *metav1.Time { return new(metav1.NewTime(d.now.Truncate(time.Second))) }

func (d *decision) wake(after time.Duration) {
	if after > 0 && (d.wakeAfter == 0 || after < d.wakeAfter) {
		d.wakeAfter = after
	}
}

func indexed(job *batchv1.Job) bool {
	return job.Spec.CompletionMode != nil && *job.Spec.CompletionMode == batchv1.IndexedCompletion
}

func suspended(job *batchv1.Job) bool { return job.Spec.Suspend != nil && *job.Spec.Suspend }

// replacesOnlyFailed tells that a pod that is being deleted keeps its place until it has ended (KEP-3939).
func replacesOnlyFailed(job *batchv1.Job) bool {
	return job.Spec.PodFailurePolicy != nil || job.Spec.PodReplacementPolicy != nil && *job.Spec.PodReplacementPolicy == batchv1.Failed
}

// tracked tells that a pod has the finalizer that keeps it until it is counted.
func tracked(pod *corev1.Pod) bool {
	return slices.Contains(pod.Finalizers, batchv1.JobTrackingFinalizer)
}

// isSurplus tells that a pod was chosen to go, and is neither to be kept nor to count as failed.
func isSurplus(pod *corev1.Pod) bool { return pod.Annotations[surplusAnnotation] != "" }

// hasFailed counts pods that are being deleted as failed: they may never get as far as to say so themselves.
func hasFailed(job *batchv1.Job, pod *corev1.Pod) bool {
	if isSurplus(pod) {
		return false
	}
	if pod.Status.Phase == corev1.PodFailed {
		return true
	}
	return pod.DeletionTimestamp != nil && pod.Status.Phase != corev1.PodSucceeded && !replacesOnlyFailed(job)
}

func isReady(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}
