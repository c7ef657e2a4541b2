package daemonset

import (
	"context"
	"errors"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gantryio/gantry/core/client/owner"
)

// act creates and deletes pods.
func (c *Controller) act(ctx context.Context, ds *appsv1.DaemonSet, p *plan, hash string) error {
	for _, pod := range p.ended {
		node := nodeOf(pod)
		if pod.Status.Phase == corev1.PodFailed {
			c.backoff.failed(ds.UID, node, c.Clock.Now())
			c.Recorder.Eventf(ds, corev1.EventTypeWarning, "FailedDaemonPod", "Found failed daemon pod %s/%s on node %s, will try to kill it", pod.Namespace, pod.Name, node)
			continue
		}
		c.Recorder.Eventf(ds, corev1.EventTypeNormal, "SucceededDaemonPod", "Found succeeded daemon pod %s/%s on node %s, will try to delete it", pod.Namespace, pod.Name, node)
	}
	return errors.Join(
		owner.AtOnce(len(p.create), func(i int) error { return c.create(ctx, ds, newPod(ds, hash, p.create[i])) }),
		owner.AtOnce(len(p.remove), func(i int) error { return c.remove(ctx, ds, p.remove[i]) }))
}

func (c *Controller) create(ctx context.Context, ds *appsv1.DaemonSet, pod *corev1.Pod) error {
	err := c.pending.Create(ctx, c.Client, client.ObjectKeyFromObject(ds), pod)
	switch {
	case err == nil:
		c.Recorder.Eventf(ds, corev1.EventTypeNormal, "SuccessfulCreate", "Created pod: %v", pod.Name)
		return nil
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return nil // the set goes too
	}
	c.Recorder.Eventf(ds, corev1.EventTypeWarning, "FailedCreate", "Error creating: %v", err)
	return fmt.Errorf("create a pod for %s: %w", nodeOf(pod), err)
}

func (c *Controller) remove(ctx context.Context, ds *appsv1.DaemonSet, pod *corev1.Pod) error {
	err := c.pending.Delete(ctx, c.Client, client.ObjectKeyFromObject(ds), pod)
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil // gone, and perhaps replaced by another of its name
	}
	if err != nil {
		c.Recorder.Eventf(ds, corev1.EventTypeWarning, "FailedDelete", "Error deleting: %v", err)
		return fmt.Errorf("delete pod %s: %w", pod.Name, err)
	}
	c.Recorder.Eventf(ds, corev1.EventTypeNormal, "SuccessfulDelete", "Deleted pod: %v", pod.Name)
	return nil
}
