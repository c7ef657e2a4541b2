package replicaset

import (
	"context"
	"errors"
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

var errDeleted = errors.New("it was deleted")

// observe returns the pods that the set controls, after adopting and releasing. The second result tells
// that the pods show everything that this process has written.
func (c *Controller) observe(ctx context.Context, rs *appsv1.ReplicaSet) ([]*corev1.Pod, bool, error) {
	sel, err := metav1.LabelSelectorAsSelector(rs.Spec.Selector)
	if err != nil || sel.Empty() {
		return nil, false, nil // such a set would own everything
	}
	owned, err := c.list(ctx, rs.Namespace, client.MatchingFields{podsByController: string(rs.UID)})
	if err != nil {
		return nil, false, err
	}
	owned, err = c.release(ctx, rs, sel, owned)
	if err != nil {
		return nil, false, err
	}
	if rs.DeletionTimestamp == nil {
		adopted, err := c.adopt(ctx, rs, sel)
		if err != nil {
			return nil, false, err
		}
		owned = append(owned, adopted...)
	}
	return c.pending.apply(ctx, c.live(), client.ObjectKeyFromObject(rs), owned)
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
func (c *Controller) release(ctx context.Context, rs *appsv1.ReplicaSet, sel labels.Selector, owned []*corev1.Pod) ([]*corev1.Pod, error) {
	kept := owned[:0]
	for _, pod := range owned {
		if sel.Matches(labels.Set(pod.Labels)) {
			kept = append(kept, pod)
			continue
		}
		if rs.DeletionTimestamp != nil {
			continue
		}
		free := pod.DeepCopy()
		free.OwnerReferences = slices.DeleteFunc(free.OwnerReferences, func(ref metav1.OwnerReference) bool { return ref.UID == rs.UID })
		if err := c.patch(ctx, free, pod); err != nil {
			return nil, fmt.Errorf("release pod %s: %w", pod.Name, err)
		}
	}
	return kept, nil
}

// adopt takes the matching pods that have no controller, once the set is known to be still there.
func (c *Controller) adopt(ctx context.Context, rs *appsv1.ReplicaSet, sel labels.Selector) ([]*corev1.Pod, error) {
	orphans, err := c.list(ctx, rs.Namespace, client.MatchingFields{orphanPods: rs.Namespace}, client.MatchingLabelsSelector{Selector: sel})
	if err != nil {
		return nil, err
	}
	var out []*corev1.Pod
	checked := false
	for _, pod := range orphans {
		if pod.DeletionTimestamp != nil || finished(pod) {
			continue
		}
		if !checked {
			if err := c.stillThere(ctx, rs); err != nil {
				return nil, err
			}
			checked = true
		}
		taken := pod.DeepCopy()
		taken.OwnerReferences = append(taken.OwnerReferences, *metav1.NewControllerRef(rs, kind))
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

func (c *Controller) stillThere(ctx context.Context, rs *appsv1.ReplicaSet) error {
	fresh := &appsv1.ReplicaSet{}
	if err := c.live().Get(ctx, client.ObjectKeyFromObject(rs), fresh); err != nil {
		return fmt.Errorf("check replica set %s before adopting: %w", rs.Name, err)
	}
	if fresh.UID != rs.UID || fresh.DeletionTimestamp != nil {
		return fmt.Errorf("adopt for replica set %s: %w", rs.Name, errDeleted)
	}
	return nil
}
