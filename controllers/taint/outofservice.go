package taint

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// outOfService tells that somebody has said the node will not come back as it was: nobody is there to stop
// its pods, and what they hold elsewhere may be taken from them.
func outOfService(node *corev1.Node) bool {
	for _, c := range node.Status.Conditions {
		if c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue {
			return false
		}
	}
	for _, t := range node.Spec.Taints {
		if t.Key == corev1.TaintNodeOutOfService {
			return true
		}
	}
	return false
}

// release removes the pods of such a node that are being deleted, at once.
func (c *Controller) release(ctx context.Context, pods []*corev1.Pod) error {
	var failed []error
	for _, pod := range pods {
		if pod.DeletionTimestamp == nil {
			continue
		}
		err := c.fail(ctx, pod)
		if err == nil {
			err = c.remove(ctx, pod, client.GracePeriodSeconds(0))
		}
		failed = append(failed, err)
	}
	return errors.Join(failed...)
}

// fail notes that the pod has failed, unless it has ended.
func (c *Controller) fail(ctx context.Context, pod *corev1.Pod) error {
	if ended(pod) {
		return nil
	}
	update := pod.DeepCopy()
	update.Status.Phase = corev1.PodFailed
	if err := c.Client.Status().Patch(ctx, update, client.StrategicMergeFrom(pod)); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("update status of pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	return nil
}
