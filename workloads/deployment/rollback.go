package deployment

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
)

const (
	// autoRollbackAnnotation with the value "true" asks for the last complete revision when a new one does
	// not make progress in time.
	autoRollbackAnnotation = "deployments.gantry.dev/auto-rollback"
	// completeAnnotation marks the sets that were all of a Deployment once, where it asks for rollbacks.
	completeAnnotation = "deployments.gantry.dev/complete"
	causeAnnotation    = "kubernetes.io/change-cause"
)

func asksForRollback(d *appsv1.Deployment) bool {
	return d.Annotations[autoRollbackAnnotation] == "true"
}

// remember marks the new set once it is all that there is.
func (r *rollout) remember(s *appsv1.DeploymentStatus) {
	if r.new == nil || !asksForRollback(r.d) || !complete(r.d, s) {
		return
	}
	if r.new.Annotations == nil {
		r.new.Annotations = map[string]string{}
	}
	r.new.Annotations[completeAnnotation] = "true"
}

// fallback is the set to go back to, nil for none: the latest that was complete, when the present
// template's deadline has passed. A set that was complete itself is not given up: what broke it is not its
// template, and going back and forth would never end.
func (r *rollout) fallback() *appsv1.ReplicaSet {
	have := find(&r.d.Status, appsv1.DeploymentProgressing)
	failed := have != nil && have.Status == corev1.ConditionFalse && have.Reason == timedOut
	if !failed || !asksForRollback(r.d) || r.d.Spec.Paused || r.d.Status.ObservedGeneration < r.d.Generation {
		return nil
	}
	if r.new == nil || r.new.Annotations[completeAnnotation] != "" {
		return nil
	}
	var last *appsv1.ReplicaSet
	for _, rs := range r.old {
		if rs.Annotations[completeAnnotation] != "" && rs.DeletionTimestamp == nil && (last == nil || revisionOf(rs) > revisionOf(last)) {
			last = rs
		}
	}
	return last
}

// back makes the Deployment's template that of a former set and says why.
func (c *Controller) back(ctx context.Context, d *appsv1.Deployment, p *plan) error {
	update := d.DeepCopy()
	update.Spec.Template = *p.back.Spec.Template.DeepCopy()
	delete(update.Spec.Template.Labels, appsv1.DefaultDeploymentUniqueLabelKey)
	if cause, ok := p.back.Annotations[causeAnnotation]; ok {
		update.Annotations[causeAnnotation] = cause
	} else {
		delete(update.Annotations, causeAnnotation)
	}
	if err := c.Client.Update(ctx, update); err != nil {
		return fmt.Errorf("roll deployment %s back: %w", d.Name, err)
	}
	c.event(d, warning, "DeploymentRollback", "Rolled back deployment %q to revision %d: revision %s made no progress for %ds: %s",
		d.Name, revisionOf(p.back), p.revision, *d.Spec.ProgressDeadlineSeconds, p.why)
	return nil
}

// reason is what is known of a rollout that failed.
func (r *rollout) reason() string {
	if c := find(&r.d.Status, appsv1.DeploymentReplicaFailure); c != nil && c.Status == corev1.ConditionTrue {
		return c.Message
	}
	return fmt.Sprintf("%d of %d pods of ReplicaSet %q are available", r.new.Status.AvailableReplicas, sizeOf(r.new), r.new.Name)
}
