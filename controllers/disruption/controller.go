// Package disruption counts for each PodDisruptionBudget how many of its pods may be evicted at this time.
// The eviction itself is the API server's: it takes from the count that is written here.
package disruption

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/tools/record"
	ctrl "sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/gantryio/gantry/core/client/clock"
	"github.com/gantryio/gantry/core/client/owner"
	"github.com/gantryio/gantry/core/client/source"
	"github.com/gantryio/gantry/core/client/workers"
)

// Controller reconciles PodDisruptionBudgets.
type Controller struct {
	Client   client.Client
	Recorder record.EventRecorder
	Clock    clock.Clock
}

var _ reconcile.Reconciler = (*Controller)(nil)

// SetupWithManager makes mgr run the controller.
func (c *Controller) SetupWithManager(mgr manager.Manager) error {
	if err := c.setupStale(mgr); err != nil {
		return err
	}
	b := ctrl.ControllerManagedBy(mgr).Named("disruption").
		For(&policyv1.PodDisruptionBudget{}).
		WatchesRawSource(source.Of(mgr.GetCache(), &corev1.Pod{}, owner.Enqueue(c.budgetsOf)))
	for _, o := range sized() {
		b = b.Watches(o, handler.EnqueueRequestsFromMapFunc(c.relatives))
	}
	return b.WithOptions(workers.Options(4)).Complete(c)
}

// budgetsOf finds the budgets of a pod.
func (c *Controller) budgetsOf(ctx context.Context, o client.Object) []reconcile.Request {
	return c.those(ctx, o.GetNamespace(), func(b *policyv1.PodDisruptionBudget) bool {
		sel, err := metav1.LabelSelectorAsSelector(b.Spec.Selector)
		return err == nil && sel.Matches(labels.Set(o.GetLabels()))
	})
}

// relatives finds the budgets that a change of a workload's size can concern.
func (c *Controller) relatives(ctx context.Context, o client.Object) []reconcile.Request {
	return c.those(ctx, o.GetNamespace(), func(b *policyv1.PodDisruptionBudget) bool { return relative(&b.Spec) })
}

func (c *Controller) those(ctx context.Context, namespace string, want func(*policyv1.PodDisruptionBudget) bool) []reconcile.Request {
	var list policyv1.PodDisruptionBudgetList
	if !owner.Find(ctx, c.Client, &list, namespace) {
		return nil
	}
	var out []reconcile.Request
	for i := range list.Items {
		if want(&list.Items[i]) {
			out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
		}
	}
	return out
}

// Reconcile implements reconcile.Reconciler.
func (c *Controller) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	b := &policyv1.PodDisruptionBudget{}
	if err := c.Client.Get(ctx, req.NamespacedName, b); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	wake, err := c.sync(ctx, b)
	switch {
	case apierrors.IsConflict(err):
		return reconcile.Result{RequeueAfter: time.Millisecond}, nil // somebody wrote meanwhile: look again
	case err != nil:
		return reconcile.Result{}, errors.Join(err, c.forbid(ctx, b, err))
	}
	return reconcile.Result{RequeueAfter: wake}, nil
}

func (c *Controller) sync(ctx context.Context, b *policyv1.PodDisruptionBudget) (time.Duration, error) {
	s := state{budget: b, now: c.Clock.Now()}
	var err error
	if s.pods, err = c.pods(ctx, b); err != nil {
		c.Recorder.Eventf(b, corev1.EventTypeWarning, "NoPods", "Failed to get pods: %v", err)
		return 0, err
	}
	if len(s.pods) == 0 {
		c.Recorder.Event(b, corev1.EventTypeNormal, "NoPods", "No matching pods found")
	}
	if relative(&b.Spec) {
		if s.scale, err = c.scale(ctx, b, s.pods); err != nil {
			c.Recorder.Eventf(b, corev1.EventTypeWarning, "CalculateExpectedPodCountFailed", "Failed to calculate the number of expected pods: %v", err)
			return 0, err
		}
	}
	p, err := decide(s)
	if err != nil {
		return 0, fmt.Errorf("count for %s: %w", b.Name, err)
	}
	for _, pod := range p.notDeleted {
		c.Recorder.Eventf(pod, corev1.EventTypeWarning, "NotDeleted", "Pod was expected by PDB %s/%s to be deleted but it wasn't", b.Namespace, b.Name)
	}
	return p.wakeAfter, c.report(ctx, b, &p.status)
}

func (c *Controller) pods(ctx context.Context, b *policyv1.PodDisruptionBudget) ([]*corev1.Pod, error) {
	sel, err := metav1.LabelSelectorAsSelector(b.Spec.Selector)
	if err != nil {
		return nil, fmt.Errorf("read the selector of %s: %w", b.Name, err)
	}
	var list corev1.PodList
	if err := c.Client.List(ctx, &list, client.InNamespace(b.Namespace), client.MatchingLabelsSelector{Selector: sel}); err != nil {
		return nil, fmt.Errorf("list pods of %s: %w", b.Name, err)
	}
	out := make([]*corev1.Pod, len(list.Items))
	for i := range list.Items {
		out[i] = &list.Items[i]
	}
	return out, nil
}

// report writes the status when it differs from the stored one.
func (c *Controller) report(ctx context.Context, b *policyv1.PodDisruptionBudget, status *policyv1.PodDisruptionBudgetStatus) error {
	if equality.Semantic.DeepEqual(&b.Status, status) {
		return nil
	}
	update := b.DeepCopy()
	update.Status = *status
	if err := client.IgnoreNotFound(c.Client.Status().Update(ctx, update)); err != nil {
		return fmt.Errorf("update status of %s: %w", client.ObjectKeyFromObject(b), err)
	}
	return nil
}

// forbid allows no eviction while the budget cannot be counted.
func (c *Controller) forbid(ctx context.Context, b *policyv1.PodDisruptionBudget, cause error) error {
	status := b.Status.DeepCopy()
	status.DisruptionsAllowed = 0
	meta.SetStatusCondition(&status.Conditions, metav1.Condition{
		Type: policyv1.DisruptionAllowedCondition, Status: metav1.ConditionFalse, Reason: policyv1.SyncFailedReason,
		Message: cause.Error(), ObservedGeneration: status.ObservedGeneration,
	})
	return c.report(ctx, b, status)
}
