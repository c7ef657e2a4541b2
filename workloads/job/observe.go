package job

import (
	"context"
	"errors"
	"fmt"
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gantryio/gantry/core/client/owner"
)

var errDeleted = errors.New("it was deleted")

// observe returns the pods that the job controls, after adopting and releasing. The second result tells
// that the job and the pods show everything that this process has written.
func (c *Controller) observe(ctx context.Context, job *batchv1.Job) ([]*corev1.Pod, bool, error) {
	if ok, err := c.pending.shows(ctx, c.live(), job); !ok || err != nil {
		return nil, false, err
	}
	sel, err := metav1.LabelSelectorAsSelector(job.Spec.Selector)
	if err != nil || sel.Empty() {
		return nil, false, nil // such a job would own everything
	}
	owned, err := c.list(ctx, job.Namespace, client.MatchingFields{owner.ByController: string(job.UID)})
	if err != nil {
		return nil, false, err
	}
	if ok, err := c.pending.settled(ctx, c.live(), job, owned); !ok || err != nil {
		return nil, false, err
	}
	owned, err = c.release(ctx, job, sel, owned)
	if err != nil || job.DeletionTimestamp != nil {
		return owned, err == nil, err
	}
	adopted, err := c.adopt(ctx, job, sel)
	return append(owned, adopted...), err == nil, err
}

func (c *Controller) list(ctx context.Context, namespace string, opts ...client.ListOption) ([]*corev1.Pod, error) {
	var list corev1.PodList
	if err := c.Client.List(ctx, &list, append(opts, client.InNamespace(namespace))...); err != nil {
		return nil, fmt.Errorf("list pods in %s: %w", namespace, err)
	}
	out := make([]*corev1.Pod, len(list.Items))
	for i := range list.Items {
		out[i] = &list.Items[i]
	}
	return out, nil
}

// release gives up pods whose labels no longer match and returns the others.
func (c *Controller) release(ctx context.Context, job *batchv1.Job, sel labels.Selector, owned []*corev1.Pod) ([]*corev1.Pod, error) {
	kept := owned[:0]
	for _, pod := range owned {
		if sel.Matches(labels.Set(pod.Labels)) {
			kept = append(kept, pod)
			continue
		}
		if job.DeletionTimestamp != nil {
			continue
		}
		loose := pod.DeepCopy()
		loose.OwnerReferences = slices.DeleteFunc(loose.OwnerReferences, func(ref metav1.OwnerReference) bool { return ref.UID == job.UID })
		loose.Finalizers = slices.DeleteFunc(loose.Finalizers, func(f string) bool { return f == batchv1.JobTrackingFinalizer })
		if err := c.patch(ctx, loose, pod); err != nil {
			return nil, fmt.Errorf("release pod %s: %w", pod.Name, err)
		}
	}
	return kept, nil
}

// adopt takes the matching pods that have no controller, once the job is known to be still there.
func (c *Controller) adopt(ctx context.Context, job *batchv1.Job, sel labels.Selector) ([]*corev1.Pod, error) {
	orphans, err := c.list(ctx, job.Namespace, client.MatchingFields{owner.ByOrphanhood: job.Namespace}, client.MatchingLabelsSelector{Selector: sel})
	if err != nil {
		return nil, err
	}
	var out []*corev1.Pod
	for _, pod := range orphans {
		if pod.DeletionTimestamp != nil {
			continue
		}
		if len(out) == 0 {
			if err := c.stillThere(ctx, job); err != nil {
				return nil, err
			}
		}
		taken := pod.DeepCopy()
		taken.OwnerReferences = append(taken.OwnerReferences, *metav1.NewControllerRef(job, kind))
		if !tracked(taken) {
			taken.Finalizers = append(taken.Finalizers, batchv1.JobTrackingFinalizer)
		}
		if err := c.patch(ctx, taken, pod); err != nil {
			return nil, fmt.Errorf("adopt pod %s: %w", pod.Name, err)
		}
		out = append(out, taken)
	}
	return out, nil
}

// patch writes the change of a pod; that the pod is gone is no error.
func (c *Controller) patch(ctx context.Context, to, from *corev1.Pod) error {
	return client.IgnoreNotFound(c.Client.Patch(ctx, to, client.MergeFromWithOptions(from, client.MergeFromWithOptimisticLock{})))
}

func (c *Controller) stillThere(ctx context.Context, job *batchv1.Job) error {
	fresh := &batchv1.Job{}
	if err := c.live().Get(ctx, client.ObjectKeyFromObject(job), fresh); err != nil {
		return fmt.Errorf("check job %s before adopting: %w", job.Name, err)
	}
	if fresh.UID != job.UID || fresh.DeletionTimestamp != nil {
		return fmt.Errorf("adopt for job %s: %w", job.Name, errDeleted)
	}
	return nil
}
