package deployment

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// act makes the new set first, so that no old one shrinks when that fails, then writes the others in
// the order of the plan.
func (c *Controller) act(ctx context.Context, d *appsv1.Deployment, p *plan) error {
	if p.create != nil {
		if done, err := c.create(ctx, d, p); !done {
			return err
		}
	}
	for _, w := range p.write {
		if equality.Semantic.DeepEqual(w.from, w.to) {
			continue
		}
		to := w.to.DeepCopy()
		if err := c.Client.Update(ctx, to); err != nil {
			return fmt.Errorf("update replica set %s: %w", w.to.Name, err)
		}
		was, is := sizeOf(w.from), sizeOf(w.to)
		if was != is {
			how := "up"
			if is < was {
				how = "down"
			}
			c.event(d, normal, "ScalingReplicaSet", "Scaled %s replica set %s from %d to %d", how, w.to.Name, was, is)
		}
	}
	for _, rs := range p.remove {
		err := c.Client.Delete(ctx, rs, client.Preconditions{UID: &rs.UID, ResourceVersion: &rs.ResourceVersion})
		if client.IgnoreNotFound(err) != nil && !apierrors.IsConflict(err) {
			return fmt.Errorf("delete replica set %s: %w", rs.Name, err)
		}
	}
	return nil
}

// create makes the new set; false means that the rest of the plan has to wait.
func (c *Controller) create(ctx context.Context, d *appsv1.Deployment, p *plan) (bool, error) {
	rs := p.create.DeepCopy()
	err := c.Client.Create(ctx, rs)
	if err == nil {
		if n := sizeOf(rs); n > 0 {
			c.event(d, normal, "ScalingReplicaSet", "Scaled up replica set %s from 0 to %d", rs.Name, n)
		}
		return true, nil
	}
	p.revision = ""
	if apierrors.IsAlreadyExists(err) {
		return false, c.collide(ctx, d, p)
	}
	if apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		return false, nil
	}
	message := fmt.Sprintf("Failed to create new replica set %q: %v", rs.Name, err)
	p.status.Conditions = d.Status.DeepCopy().Conditions
	if hasDeadline(d) {
		setCondition(&p.status, condition(appsv1.DeploymentProgressing, corev1.ConditionFalse, failedCreate, message, c.Clock.Now()))
	}
	c.event(d, warning, failedCreate, "%s", message)
	return false, err
}

// collide tells a set of ours that the cache did not show from another one that has the name: then the
// next name is made with a higher collision count.
func (c *Controller) collide(ctx context.Context, d *appsv1.Deployment, p *plan) error {
	have := &appsv1.ReplicaSet{}
	if err := c.live().Get(ctx, client.ObjectKeyFromObject(p.create), have); err != nil {
		return fmt.Errorf("get replica set %s: %w", p.create.Name, err)
	}
	mine := metav1.IsControlledBy(have, d)
	p.status = *d.Status.DeepCopy()
	if mine && sameTemplate(&have.Spec.Template, &d.Spec.Template) {
		return nil // its event brings us back
	}
	next := int32(1)
	if d.Status.CollisionCount != nil {
		next = *d.Status.CollisionCount + 1
	}
	p.status.CollisionCount = &next
	return nil
}
