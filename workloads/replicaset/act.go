package replicaset

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gantryio/gantry/core/client/owner"
)

// act creates or deletes pods. After a first error no further write is begun.
func (c *Controller) act(ctx context.Context, rs set, p plan) error {
	switch {
	case p.create > 0:
		return owner.AtOnce(p.create, func(int) error { return c.create(ctx, rs) })
	case p.surplus > 0:
		related, err := c.related(ctx, rs, p.live)
		if err != nil {
			return err
		}
		doomed := leastValuable(p.live, related, p.surplus, c.Clock.Now())
		return owner.AtOnce(len(doomed), func(i int) error { return c.remove(ctx, rs, doomed[i]) })
	}
	return nil
}

func (c *Controller) create(ctx context.Context, rs set) error {
	pod := newPod(rs.ReplicaSet, c.kind().gvk)
	err := c.pending.Create(ctx, c.Client, client.ObjectKeyFromObject(rs), pod)
	switch {
	case err == nil:
		c.Recorder.Eventf(rs.self, corev1.EventTypeNormal, "SuccessfulCreate", "Created pod: %v", pod.Name)
		return nil
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return nil // the set goes too
	}
	c.Recorder.Eventf(rs.self, corev1.EventTypeWarning, "FailedCreate", "Error creating: %v", err)
	return err
}

func newPod(rs *appsv1.ReplicaSet, kind schema.GroupVersionKind) *corev1.Pod {
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

func (c *Controller) remove(ctx context.Context, rs set, pod *corev1.Pod) error {
	err := c.pending.Delete(ctx, c.Client, client.ObjectKeyFromObject(rs), pod)
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil // gone, and perhaps replaced by another of its name
	}
	if err != nil {
		c.Recorder.Eventf(rs.self, corev1.EventTypeWarning, "FailedDelete", "Error deleting: %v", err)
		return fmt.Errorf("delete pod %s: %w", pod.Name, err)
	}
	c.Recorder.Eventf(rs.self, corev1.EventTypeNormal, "SuccessfulDelete", "Deleted pod: %v", pod.Name)
	return nil
}

// related are the live pods of all sets with the same controller: two of them on a node are doubled up.
func (c *Controller) related(ctx context.Context, rs set, own []*corev1.Pod) ([]*corev1.Pod, error) {
	ref := metav1.GetControllerOfNoCopy(rs)
	if ref == nil || c.kind() != ReplicaSets {
		return own, nil
	}
	var sets appsv1.ReplicaSetList
	if err := c.Client.List(ctx, &sets, client.InNamespace(rs.Namespace), client.MatchingFields{owner.ByController: string(ref.UID)}); err != nil {
		return nil, fmt.Errorf("list replica sets of %s: %w", ref.Name, err)
	}
	all := slices.Clone(own)
	var failed []error
	for i := range sets.Items {
		if sets.Items[i].UID == rs.UID {
			continue
		}
		pods, err := c.list(ctx, rs.Namespace, client.MatchingFields{owner.ByController: string(sets.Items[i].UID)})
		failed = append(failed, err)
		for _, pod := range pods {
			if pod.DeletionTimestamp == nil && !finished(pod) {
				all = append(all, pod)
			}
		}
	}
	return all, errors.Join(failed...)
}
