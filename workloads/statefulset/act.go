package statefulset

import (
	"context"
	"errors"
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gantryio/gantry/core/client/owner"
)

var errGoing = errors.New("it is being deleted")

// act does what the plan says: owners of claims first, since a pod's deletion may take its claims along.
// A failure of one kind of writes does not keep the deletions from being done, unless it is of claims.
func (c *Controller) act(ctx context.Context, set *appsv1.StatefulSet, p *plan) error {
	err := owner.AtOnce(len(p.keepClaims), func(i int) error {
		if err := client.IgnoreNotFound(c.Client.Update(ctx, p.keepClaims[i])); err != nil {
			return fmt.Errorf("update owners of claim %s: %w", p.keepClaims[i].Name, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	made := owner.AtOnce(len(p.makeClaims), func(i int) error { return c.makeClaim(ctx, set, p.makeClaims[i]) })
	if made == nil {
		made = owner.AtOnce(len(p.create), func(i int) error { return c.create(ctx, set, p.create[i]) })
	}
	return errors.Join(made,
		owner.AtOnce(len(p.relabel), func(i int) error { return c.relabel(ctx, set, p.relabel[i]) }),
		owner.AtOnce(len(p.remove), func(i int) error { return c.remove(ctx, set, p.remove[i]) }))
}

// say reports a write of a pod in the words that users of StatefulSets look for.
func (c *Controller) say(set *appsv1.StatefulSet, verb, done string, pod string, err error) {
	if err == nil {
		c.Recorder.Eventf(set, corev1.EventTypeNormal, "Successful"+done, "%s Pod %s in StatefulSet %s successful", verb, pod, set.Name)
		return
	}
	c.Recorder.Eventf(set, corev1.EventTypeWarning, "Failed"+done, "%s Pod %s in StatefulSet %s failed error: %v", verb, pod, set.Name, err)
}

func (c *Controller) makeClaim(ctx context.Context, set *appsv1.StatefulSet, want claimOf) error {
	err := c.Client.Create(ctx, want.claim)
	switch {
	case err == nil:
		c.Recorder.Eventf(set, corev1.EventTypeNormal, "SuccessfulCreate", "create Claim %s Pod %s in StatefulSet %s success", want.claim.Name, want.pod.Name, set.Name)
		return nil
	case apierrors.IsAlreadyExists(err):
		return nil // the cache had not shown it
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return nil // the set goes too
	}
	c.Recorder.Eventf(set, corev1.EventTypeWarning, "FailedCreate", "create Claim %s for Pod %s in StatefulSet %s failed error: %s", want.claim.Name, want.pod.Name, set.Name, err)
	return fmt.Errorf("create claim %s: %w", want.claim.Name, err)
}

func (c *Controller) create(ctx context.Context, set *appsv1.StatefulSet, pod *corev1.Pod) error {
	err := c.usable(ctx, set, pod)
	if err == nil {
		err = c.Client.Create(ctx, pod)
	}
	if apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		return nil // the set goes too
	}
	if apierrors.IsAlreadyExists(err) && c.ours(ctx, set, pod.Name) {
		return nil // the cache had not shown it
	}
	c.say(set, "create", "Create", pod.Name, err)
	if err != nil {
		return fmt.Errorf("create pod %s: %w", pod.Name, err)
	}
	return nil
}

// usable refuses claims that are on their way out.
func (c *Controller) usable(ctx context.Context, set *appsv1.StatefulSet, pod *corev1.Pod) error {
	for i := range set.Spec.VolumeClaimTemplates {
		claim := &corev1.PersistentVolumeClaim{}
		name := claimName(set.Spec.VolumeClaimTemplates[i].Name, pod.Name)
		if err := c.Client.Get(ctx, client.ObjectKey{Namespace: set.Namespace, Name: name}, claim); err == nil && claim.DeletionTimestamp != nil {
			return fmt.Errorf("use claim %s: %w", name, errGoing)
		}
	}
	return nil
}

func (c *Controller) ours(ctx context.Context, set *appsv1.StatefulSet, name string) bool {
	have := &corev1.Pod{}
	err := c.live().Get(ctx, client.ObjectKey{Namespace: set.Namespace, Name: name}, have)
	return err == nil && slices.Equal(owner.Controllers(have), []string{string(set.UID)})
}

func (c *Controller) relabel(ctx context.Context, set *appsv1.StatefulSet, pod *corev1.Pod) error {
	err := client.IgnoreNotFound(c.Client.Update(ctx, pod))
	if apierrors.IsConflict(err) {
		return err
	}
	c.say(set, "update", "Update", pod.Name, err)
	return err
}

func (c *Controller) remove(ctx context.Context, set *appsv1.StatefulSet, pod *corev1.Pod) error {
	err := c.Client.Delete(ctx, pod, client.Preconditions{UID: &pod.UID})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil // gone, and perhaps replaced by another of its name
	}
	c.say(set, "delete", "Delete", pod.Name, err)
	if err != nil {
		return fmt.Errorf("delete pod %s: %w", pod.Name, err)
	}
	return nil
}
