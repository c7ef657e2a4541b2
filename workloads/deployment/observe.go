package deployment

import (
	"context"
	"errors"
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

var errDeleted = errors.New("it was deleted")

// observe returns the ReplicaSets of the Deployment, after adopting and releasing.
func (c *Controller) observe(ctx context.Context, d *appsv1.Deployment) ([]*appsv1.ReplicaSet, error) {
	sel, err := metav1.LabelSelectorAsSelector(d.Spec.Selector)
	if err != nil || sel.Empty() {
		c.event(d, warning, "SelectingAll", "This deployment is selecting all pods. A non-empty selector is required.")
		return nil, nil
	}
	owned, err := c.list(ctx, d.Namespace, client.MatchingFields{setsByController: string(d.UID)})
	if err != nil {
		return nil, err
	}
	if d.DeletionTimestamp != nil {
		return owned, nil
	}
	var out []*appsv1.ReplicaSet
	for _, rs := range owned {
		if sel.Matches(labels.Set(rs.Labels)) {
			out = append(out, rs)
			continue
		}
		free := rs.DeepCopy()
		free.OwnerReferences = slices.DeleteFunc(free.OwnerReferences, func(ref metav1.OwnerReference) bool { return ref.UID == d.UID })
		if err := c.patch(ctx, free, rs); err != nil {
			return nil, fmt.Errorf("release replica set %s: %w", rs.Name, err)
		}
	}
	adopted, err := c.adopt(ctx, d, sel)
	return append(out, adopted...), err
}

func (c *Controller) list(ctx context.Context, namespace string, opts ...client.ListOption) ([]*appsv1.ReplicaSet, error) {
	var list appsv1.ReplicaSetList
	if err := c.Client.List(ctx, &list, append(opts, client.InNamespace(namespace))...); err != nil {
		return nil, fmt.Errorf("list replica sets in %s: %w", namespace, err)
	}
	out := make([]*appsv1.ReplicaSet, len(list.Items))
	for i := range list.Items {
		out[i] = &list.Items[i]
	}
	return out, nil
}

// adopt takes the matching sets that have no controller, once the Deployment is known to be still there.
func (c *Controller) adopt(ctx context.Context, d *appsv1.Deployment, sel labels.Selector) ([]*appsv1.ReplicaSet, error) {
	orphans, err := c.list(ctx, d.Namespace, client.MatchingFields{orphanSets: d.Namespace}, client.MatchingLabelsSelector{Selector: sel})
	if err != nil {
		return nil, err
	}
	orphans = slices.DeleteFunc(orphans, func(rs *appsv1.ReplicaSet) bool { return rs.DeletionTimestamp != nil })
	if len(orphans) == 0 {
		return nil, nil
	}
	fresh := &appsv1.Deployment{}
	if err := c.live().Get(ctx, client.ObjectKeyFromObject(d), fresh); err != nil {
		return nil, fmt.Errorf("check deployment %s before adopting: %w", d.Name, err)
	}
	if fresh.UID != d.UID || fresh.DeletionTimestamp != nil {
		return nil, fmt.Errorf("adopt for deployment %s: %w", d.Name, errDeleted)
	}
	for i, rs := range orphans {
		taken := rs.DeepCopy()
		taken.OwnerReferences = append(taken.OwnerReferences, *metav1.NewControllerRef(d, kind))
		if err := c.patch(ctx, taken, rs); err != nil {
			return nil, fmt.Errorf("adopt replica set %s: %w", rs.Name, err)
		}
		orphans[i] = taken
	}
	return orphans, nil
}

func (c *Controller) patch(ctx context.Context, to, from *appsv1.ReplicaSet) error {
	return client.IgnoreNotFound(c.Client.Patch(ctx, to, client.MergeFromWithOptions(from, client.MergeFromWithOptimisticLock{})))
}
