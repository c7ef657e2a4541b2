// Package replicaset keeps as many pods running as each ReplicaSet asks for. It exists apart from
// deployment because a ReplicaSet knows of one template only: rolling from one template to another is
// the work of whoever owns the ReplicaSets.
//
// No pod is doubled or lost when the process dies between two writes: what exists is what the API
// lists, and what this process wrote but does not see listed yet is remembered until it is.
package replicaset

import (
	"context"
	"errors"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// The indexes of pods and ReplicaSets that reconciles read by.
const (
	podsByController = "replicaset.controller"
	orphanPods       = "replicaset.orphan"
	setsByController = "replicaset.owner"
)

var kind = appsv1.SchemeGroupVersion.WithKind("ReplicaSet")

// Controller reconciles ReplicaSets.
type Controller struct {
	Client client.Client
	// Live reads past any cache. Nil means that Client's reads see all acknowledged writes.
	Live     client.Reader
	Recorder record.EventRecorder
	// Now is time.Now unless set.
	Now func() time.Time

	pending pending
	pace    pace
}

var _ reconcile.Reconciler = (*Controller)(nil)

// SetupWithManager makes mgr run the controller.
func (c *Controller) SetupWithManager(mgr manager.Manager) error {
	if err := c.index(context.Background(), mgr.GetFieldIndexer()); err != nil {
		return err
	}
	return ctrl.ControllerManagedBy(mgr).Named("replicaset").
		For(&appsv1.ReplicaSet{}).
		Watches(&corev1.Pod{}, handler.EnqueueRequestsFromMapFunc(c.setsOf)).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: 8,
			RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](5*time.Millisecond, 30*time.Second),
		}).
		Complete(c)
}

func (c *Controller) index(ctx context.Context, x client.FieldIndexer) error {
	return errors.Join(
		x.IndexField(ctx, &corev1.Pod{}, podsByController, byController),
		x.IndexField(ctx, &corev1.Pod{}, orphanPods, byOrphanhood),
		x.IndexField(ctx, &appsv1.ReplicaSet{}, setsByController, byController),
	)
}

func byController(o client.Object) []string {
	if ref := metav1.GetControllerOfNoCopy(o); ref != nil {
		return []string{string(ref.UID)}
	}
	return nil
}

func byOrphanhood(o client.Object) []string {
	if metav1.GetControllerOfNoCopy(o) == nil {
		return []string{o.GetNamespace()}
	}
	return nil
}

// setsOf finds the ReplicaSets that a change of a pod concerns: its controller, or those that might
// adopt it.
func (c *Controller) setsOf(ctx context.Context, o client.Object) []reconcile.Request {
	if ref := metav1.GetControllerOfNoCopy(o); ref != nil {
		if ref.Kind != kind.Kind || ref.APIVersion != kind.GroupVersion().String() {
			return nil
		}
		return []reconcile.Request{{NamespacedName: client.ObjectKey{Namespace: o.GetNamespace(), Name: ref.Name}}}
	}
	if len(o.GetLabels()) == 0 {
		return nil
	}
	var sets appsv1.ReplicaSetList
	if err := c.Client.List(ctx, &sets, client.InNamespace(o.GetNamespace())); err != nil {
		return nil
	}
	var out []reconcile.Request
	for i := range sets.Items {
		sel, err := metav1.LabelSelectorAsSelector(sets.Items[i].Spec.Selector)
		if err == nil && !sel.Empty() && sel.Matches(labels.Set(o.GetLabels())) {
			out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&sets.Items[i])})
		}
	}
	return out
}

// Reconcile implements reconcile.Reconciler.
func (c *Controller) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	now := c.now()
	if wait := c.pace.wait(req.NamespacedName, now); wait > 0 {
		return reconcile.Result{RequeueAfter: wait}, nil
	}
	rs := &appsv1.ReplicaSet{}
	if err := c.Client.Get(ctx, req.NamespacedName, rs); err != nil {
		c.pending.forget(req.NamespacedName)
		c.pace.forget(req.NamespacedName)
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	pods, settled, err := c.observe(ctx, rs)
	if err != nil {
		return reconcile.Result{}, err
	}
	p := decide(rs, pods, now)
	var acted error
	if settled {
		acted = c.act(ctx, rs, p)
	}
	p.status.Conditions = conditions(rs, p, acted, now)
	err = c.report(ctx, rs, p.status)
	c.pace.done(req.NamespacedName, now, len(pods))
	return reconcile.Result{RequeueAfter: p.wakeAfter}, errors.Join(acted, err)
}

// report writes the status when it differs from the stored one.
func (c *Controller) report(ctx context.Context, rs *appsv1.ReplicaSet, status appsv1.ReplicaSetStatus) error {
	if sameStatus(&rs.Status, &status) {
		return nil
	}
	update := rs.DeepCopy()
	update.Status = status
	if err := client.IgnoreNotFound(c.Client.Status().Update(ctx, update)); err != nil {
		return fmt.Errorf("update status of replica set %s: %w", client.ObjectKeyFromObject(rs), err)
	}
	return nil
}

func (c *Controller) now() time.Time {
	if c.Now != nil {
		return c.Now()
	}
	return time.Now()
}

func (c *Controller) live() client.Reader {
	if c.Live != nil {
		return c.Live
	}
	return c.Client
}
