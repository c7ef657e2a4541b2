package job

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gantryio/gantry/core/client/owner"
)

// parallel is how many pods of one job are written at a time.
const parallel = 32

// act carries the plan out. It may end anywhere: what was not done is planned again.
func (c *Controller) act(ctx context.Context, job *batchv1.Job, p plan) error {
	if _, err := atOnce(len(p.stop), parallel, func(i int) error { return c.stop(ctx, job, p.stop[i]) }); err != nil {
		return err
	}
	if _, err := atOnce(len(p.remove), parallel, func(i int) error { return c.remove(ctx, job, p.remove[i]) }); err != nil {
		return err
	}
	created, failed := c.createAll(ctx, job, p.create)
	p.status.Active -= int32(len(p.create) - created)
	now, err := c.report(ctx, job, p.status)
	if err != nil {
		return errors.Join(failed, err)
	}
	c.tell(job, p.events)
	c.backoffs.set(job, p.backoff)
	var freed []types.UID
	var mu sync.Mutex
	_, unfreed := atOnce(len(p.free), parallel, func(i int) error {
		if err := c.free(ctx, job, p.free[i]); err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		freed = append(freed, p.free[i].UID)
		return nil
	})
	after := p.settle(freed)
	if unfreed != nil {
		after.Conditions, after.CompletionTime = now.Status.Conditions, now.Status.CompletionTime
	}
	last, err := c.report(ctx, now, after)
	if err == nil && finished(last) && !finished(now) {
		c.tell(last, farewell(last, p.finish))
	}
	return errors.Join(failed, unfreed, err)
}

func (c *Controller) tell(job *batchv1.Job, events []event) {
	for _, e := range events {
		c.Recorder.Event(job, e.kind, e.reason, e.message)
	}
}

// report writes the status when it differs from the job's, and returns the job as it then is.
func (c *Controller) report(ctx context.Context, job *batchv1.Job, status batchv1.JobStatus) (*batchv1.Job, error) {
	if equality.Semantic.DeepEqual(job.Status, status) {
		return job, nil
	}
	update := job.DeepCopy()
	update.Status = status
	err := c.Client.Status().Update(ctx, update)
	switch {
	case err == nil:
		c.pending.note(job, func(w *writes) { w.version = version(update) })
		return update, nil
	case !owner.Refused(err):
		c.pending.note(job, func(w *writes) { w.unsure = true })
	}
	return nil, fmt.Errorf("update status of job %s: %w", client.ObjectKeyFromObject(job), err)
}

// createAll makes pods in batches of 1, 2, 4 and so on, so that what fails for all of them is not tried for
// all. It returns how many were made.
func (c *Controller) createAll(ctx context.Context, job *batchv1.Job, slots []slot) (int, error) {
	created := 0
	for batch := 1; len(slots) > 0; batch *= 2 {
		n := min(batch, len(slots))
		done, err := atOnce(n, n, func(i int) error { return c.create(ctx, job, slots[i]) })
		created += done
		if err != nil {
			return created, err
		}
		slots = slots[n:]
	}
	return created, nil
}

// nameAttempts is how many names are tried for a pod.
const nameAttempts = 8

func (c *Controller) create(ctx context.Context, job *batchv1.Job, s slot) error {
	pod := newPod(job, s)
	err := c.Client.Create(ctx, pod)
	for i := 1; i < nameAttempts && apierrors.IsAlreadyExists(err); i++ {
		rename(pod)
		err = c.Client.Create(ctx, pod)
	}
	switch {
	case err == nil:
		c.pending.note(job, func(w *writes) { w.created[pod.Name] = pod.UID })
		c.Recorder.Eventf(job, corev1.EventTypeNormal, "SuccessfulCreate", "Created pod: %v", pod.Name)
		return nil
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return nil // the job goes too
	case !owner.Refused(err):
		c.pending.note(job, func(w *writes) { w.created[pod.Name] = "" })
	}
	c.Recorder.Eventf(job, corev1.EventTypeWarning, "FailedCreate", "Error creating: %v", err)
	return fmt.Errorf("create pod of job %s: %w", job.Name, err)
}

// remove lets a pod go that is not to count. One that has changed may have finished, which counts.
func (c *Controller) remove(ctx context.Context, job *batchv1.Job, pod *corev1.Pod) error {
	if !isSurplus(pod) {
		mark := fmt.Sprintf(`{"metadata":{"uid":%q,"resourceVersion":%q,"annotations":{%q:"true"}}}`, pod.UID, pod.ResourceVersion, surplusAnnotation)
		if err := c.write(ctx, job, pod, mark); err != nil {
			return fmt.Errorf("mark pod %s as surplus: %w", pod.Name, err)
		}
	}
	return c.stop(ctx, job, pod)
}

// stop deletes a pod; its finalizer keeps it until it is counted.
func (c *Controller) stop(ctx context.Context, job *batchv1.Job, pod *corev1.Pod) error {
	err := c.Client.Delete(ctx, pod.DeepCopy(), client.Preconditions{UID: &pod.UID})
	if err != nil && !gone(err) {
		c.doubt(job, pod, err)
		c.Recorder.Eventf(job, corev1.EventTypeWarning, "FailedDelete", "Error deleting: %v", err)
		return fmt.Errorf("delete pod %s: %w", pod.Name, err)
	}
	c.pending.note(job, func(w *writes) { w.deleted[pod.UID] = true })
	if err == nil {
		c.Recorder.Eventf(job, corev1.EventTypeNormal, "SuccessfulDelete", "Deleted pod: %v", pod.Name)
	}
	return nil
}

// gone tells that the object of that UID is there no longer.
func gone(err error) bool {
	return apierrors.IsNotFound(err) || apierrors.IsConflict(err) && strings.Contains(err.Error(), "UID")
}

// free takes the finalizer from a pod.
func (c *Controller) free(ctx context.Context, job *batchv1.Job, pod *corev1.Pod) error {
	patch := fmt.Sprintf(`{"metadata":{"uid":%q,"$deleteFromPrimitiveList/finalizers":[%q]}}`, pod.UID, batchv1.JobTrackingFinalizer)
	if err := c.write(ctx, job, pod, patch); err != nil {
		return fmt.Errorf("free pod %s of its finalizer: %w", pod.Name, err)
	}
	return nil
}

// write patches a pod; that it is gone is no error.
func (c *Controller) write(ctx context.Context, job *batchv1.Job, pod *corev1.Pod, patch string) error {
	out := &corev1.Pod{}
	out.Namespace, out.Name = pod.Namespace, pod.Name
	err := c.Client.Patch(ctx, out, client.RawPatch(types.StrategicMergePatchType, []byte(patch)))
	if err == nil {
		c.pending.note(job, func(w *writes) { w.patched[pod.UID] = version(out) })
	}
	if err != nil && !gone(err) {
		c.doubt(job, pod, err)
		return err
	}
	return nil
}

// doubt notes that a write to the pod may have taken place in spite of the error.
func (c *Controller) doubt(job *batchv1.Job, pod *corev1.Pod, err error) {
	if !owner.Refused(err) {
		c.pending.note(job, func(w *writes) { w.doubted[pod.UID] = pod.Name })
	}
}

// atOnce calls do for 0 to n-1, several at a time, and stops beginning calls after the first error, which it
// returns with the number of calls that succeeded.
func atOnce(n, width int, do func(i int) error) (int, error) {
	var mu sync.Mutex
	var failed error
	next, done := 0, 0
	take := func(last error, finished bool) (int, bool) {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case finished && last == nil:
			done++
		case last != nil && failed == nil:
			failed = last
		}
		if next == n || failed != nil {
			return 0, false
		}
		next++
		return next - 1, true
	}
	work := func() {
		for i, ok := take(nil, false); ok; {
			i, ok = take(do(i), true)
		}
	}
	if n == 1 {
		work()
		return done, failed
	}
	var wg sync.WaitGroup
	for range min(n, width) {
		wg.Go(work)
	}
	wg.Wait()
	return done, failed
}
