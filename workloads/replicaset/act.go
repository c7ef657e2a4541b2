package replicaset

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// parallel is how many pods of one set are written at a time.
const parallel = 32

// act creates or deletes pods. After a first error no further write is begun.
func (c *Controller) act(ctx context.Context, rs *appsv1.ReplicaSet, p plan) error {
	switch {
	case p.create > 0:
		return atOnce(p.create, func(int) error { return c.create(ctx, rs) })
	case p.surplus > 0:
		related, err := c.related(ctx, rs, p.live)
		if err != nil {
			return err
		}
		doomed := leastValuable(p.live, related, p.surplus, c.now())
		return atOnce(len(doomed), func(i int) error { return c.remove(ctx, rs, doomed[i]) })
	}
	return nil
}

// atOnce calls do for 0 to n-1, several at a time, and stops beginning calls after the first error.
func atOnce(n int, do func(i int) error) error {
	var mu sync.Mutex
	var failed []error
	next := 0
	take := func() (int, bool) {
		mu.Lock()
		defer mu.Unlock()
		if next == n || len(failed) > 0 {
			return 0, false
		}
		next++
		return next - 1, true
	}
	var wg sync.WaitGroup
	for range min(n, parallel) {
		wg.Go(func() {
			for i, ok := take(); ok; i, ok = take() {
				if err := do(i); err != nil {
					mu.Lock()
					failed = append(failed, err)
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	if len(failed) == 0 {
		return nil
	}
	return failed[0]
}

func (c *Controller) create(ctx context.Context, rs *appsv1.ReplicaSet) error {
	pod := newPod(rs)
	err := c.Client.Create(ctx, pod)
	switch {
	case err == nil:
		c.pending.created(client.ObjectKeyFromObject(rs), pod)
		c.Recorder.Eventf(rs, corev1.EventTypeNormal, "SuccessfulCreate", "Created pod: %v", pod.Name)
		return nil
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return nil // the set goes too
	}
	c.Recorder.Eventf(rs, corev1.EventTypeWarning, "FailedCreate", "Error creating: %v", err)
	return err
}

func newPod(rs *appsv1.ReplicaSet) *corev1.Pod {
	t := rs.Spec.Template.DeepCopy()
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: rs.Namespace, GenerateName: rs.Name + "-",
			Labels: maps.Clone(t.Labels), Annotations: maps.Clone(t.Annotations), Finalizers: slices.Clone(t.Finalizers),
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(rs, kind)},
		},
		Spec: t.Spec,
	}
}

func (c *Controller) remove(ctx context.Context, rs *appsv1.ReplicaSet, pod *corev1.Pod) error {
	err := c.Client.Delete(ctx, pod, client.Preconditions{UID: &pod.UID})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		c.pending.deleted(client.ObjectKeyFromObject(rs), pod.UID)
		return nil // gone, and perhaps replaced by another of its name
	}
	if err != nil {
		c.Recorder.Eventf(rs, corev1.EventTypeWarning, "FailedDelete", "Error deleting: %v", err)
		return fmt.Errorf("delete pod %s: %w", pod.Name, err)
	}
	c.pending.deleted(client.ObjectKeyFromObject(rs), pod.UID)
	c.Recorder.Eventf(rs, corev1.EventTypeNormal, "SuccessfulDelete", "Deleted pod: %v", pod.Name)
	return nil
}

// related are the live pods of all sets with the same controller: two of them on a node are doubled up.
func (c *Controller) related(ctx context.Context, rs *appsv1.ReplicaSet, own []*corev1.Pod) ([]*corev1.Pod, error) {
	ref := metav1.GetControllerOfNoCopy(rs)
	if ref == nil {
		return own, nil
	}
	var sets appsv1.ReplicaSetList
	if err := c.Client.List(ctx, &sets, client.InNamespace(rs.Namespace), client.MatchingFields{setsByController: string(ref.UID)}); err != nil {
		return nil, fmt.Errorf("list replica sets of %s: %w", ref.Name, err)
	}
	all := slices.Clone(own)
	var failed []error
	for i := range sets.Items {
		if sets.Items[i].UID == rs.UID {
			continue
		}
		pods, err := c.list(ctx, rs.Namespace, client.MatchingFields{podsByController: string(sets.Items[i].UID)})
		failed = append(failed, err)
		for _, pod := range pods {
			if pod.DeletionTimestamp == nil && !finished(pod) {
				all = append(all, pod)
			}
		}
	}
	return all, errors.Join(failed...)
}
