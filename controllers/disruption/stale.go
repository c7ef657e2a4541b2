package disruption

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/gantryio/gantry/core/client/workers"
)

// staleAfter is how long a pod may say that it is being disrupted without being deleted.
const staleAfter = 2 * time.Minute

func (c *Controller) setupStale(mgr manager.Manager) error {
	announced := predicate.NewPredicateFuncs(func(o client.Object) bool { return disruption(o.(*corev1.Pod)) != nil })
	return ctrl.ControllerManagedBy(mgr).Named("stale-disruption").
		For(&corev1.Pod{}, ctrl.WithPredicates(announced)).
		WithOptions(workers.Options(2)).
		Complete(reconcile.Func(c.retract))
}

// disruption is the condition of a pod that is to be disrupted and is not yet, nil when there is none.
func disruption(pod *corev1.Pod) *corev1.PodCondition {
	if pod.DeletionTimestamp != nil || pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
		return nil
	}
	for i := range pod.Status.Conditions {
		if c := &pod.Status.Conditions[i]; c.Type == corev1.DisruptionTarget && c.Status == corev1.ConditionTrue {
			return c
		}
	}
	return nil
}

// retract takes back the announcement of a disruption that did not come.
func (c *Controller) retract(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	pod := &corev1.Pod{}
	if err := c.Client.Get(ctx, req.NamespacedName, pod); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	have := disruption(pod)
	if have == nil {
		return reconcile.Result{}, nil
	}
	if left := have.LastTransitionTime.Add(staleAfter).Sub(c.Clock.Now()); left > 0 {
		return reconcile.Result{RequeueAfter: left}, nil
	}
	update := pod.DeepCopy()
	*disruption(update) = corev1.PodCondition{
		Type: corev1.DisruptionTarget, Status: corev1.ConditionFalse, LastTransitionTime: metav1.NewTime(c.Clock.Now()), ObservedGeneration: pod.Generation,
	}
	if err := client.IgnoreNotFound(c.Client.Status().Update(ctx, update)); err != nil {
		return reconcile.Result{}, fmt.Errorf("update status of pod %s: %w", req.NamespacedName, err)
	}
	return reconcile.Result{}, nil
}
