// Package ttlafterfinished deletes finished jobs when their ttlSecondsAfterFinished has passed. It exists
// apart from the job controller because it also deletes jobs that other controllers manage.
package ttlafterfinished

import (
	"cmp"
	"context"
	"fmt"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/gantryio/gantry/core/client/clock"
	"github.com/gantryio/gantry/core/client/workers"
)

// Controller reconciles Jobs that have a ttlSecondsAfterFinished.
type Controller struct {
	Client client.Client
	// Live reads past any cache. Nil means that Client's reads see all acknowledged writes.
	Live  client.Reader
	Clock clock.Clock
}

var _ reconcile.Reconciler = (*Controller)(nil)

// SetupWithManager makes mgr run the controller.
func (c *Controller) SetupWithManager(mgr manager.Manager) error {
	return ctrl.ControllerManagedBy(mgr).Named("ttlafterfinished").For(&batchv1.Job{}).WithOptions(workers.Options(1)).Complete(c)
}

// Reconcile implements reconcile.Reconciler.
func (c *Controller) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	job := &batchv1.Job{}
	if err := c.Client.Get(ctx, req.NamespacedName, job); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if left, ok := timeLeft(job, c.Clock.Now()); !ok || left > 0 {
		return reconcile.Result{RequeueAfter: left}, nil
	}
	fresh := &batchv1.Job{}
	if err := c.live().Get(ctx, req.NamespacedName, fresh); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if left, ok := timeLeft(fresh, c.Clock.Now()); !ok || left > 0 {
		return reconcile.Result{RequeueAfter: left}, nil
	}
	err := c.Client.Delete(ctx, fresh.DeepCopy(), client.PropagationPolicy(metav1.DeletePropagationForeground),
		client.Preconditions{UID: &fresh.UID, ResourceVersion: &fresh.ResourceVersion})
	if client.IgnoreNotFound(err) != nil {
		return reconcile.Result{}, fmt.Errorf("delete finished job %s: %w", req.NamespacedName, err)
	}
	return reconcile.Result{}, nil
}

// timeLeft is how long the job is still kept, false when there is no end to that.
func timeLeft(job *batchv1.Job, now time.Time) (time.Duration, bool) {
	if job.DeletionTimestamp != nil || job.Spec.TTLSecondsAfterFinished == nil {
		return 0, false
	}
	for _, c := range job.Status.Conditions {
		if (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed) && c.Status == corev1.ConditionTrue && !c.LastTransitionTime.IsZero() {
			end := c.LastTransitionTime.Add(time.Duration(*job.Spec.TTLSecondsAfterFinished) * time.Second)
			return max(0, end.Sub(now)), true
		}
	}
	return 0, false
}

func (c *Controller) live() client.Reader { return cmp.Or[client.Reader](c.Live, c.Client) }
