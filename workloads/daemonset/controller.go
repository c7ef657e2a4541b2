// Package daemonset keeps one pod of each DaemonSet on every node that it is for, and moves them from one
// template to the next without leaving more nodes without one than allowed.
//
// No pod is doubled or lost when the process dies between two writes: what exists is what the API lists,
// and what this process wrote but does not see listed yet is remembered until it is.
package daemonset

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/tools/record"
	ctrl "sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/gantryio/gantry/core/client/clock"
	"github.com/gantryio/gantry/core/client/owner"
	"github.com/gantryio/gantry/core/client/source"
	"github.com/gantryio/gantry/core/client/workers"
)

var kind = appsv1.SchemeGroupVersion.WithKind("DaemonSet")

// Controller reconciles DaemonSets.
type Controller struct {
	Client client.Client
	// Live reads past any cache. Nil means that Client's reads see all acknowledged writes.
	Live     client.Reader
	Recorder record.EventRecorder
	Clock    clock.Clock

	pending owner.Pending
	backoff backoff
}

var _ reconcile.Reconciler = (*Controller)(nil)

// SetupWithManager makes mgr run the controller.
func (c *Controller) SetupWithManager(mgr manager.Manager) error {
	ctx, x := context.Background(), mgr.GetFieldIndexer()
	if err := errors.Join(owner.Index(ctx, x, &corev1.Pod{}), owner.Index(ctx, x, &appsv1.ControllerRevision{})); err != nil {
		return err
	}
	owned := owner.EnqueueOwner(c.setsOf)
	return ctrl.ControllerManagedBy(mgr).Named("daemonset").
		For(&appsv1.DaemonSet{}).
		WatchesRawSource(source.Of(mgr.GetCache(), &corev1.Pod{}, owned)).
		WatchesRawSource(source.Of(mgr.GetCache(), &appsv1.ControllerRevision{}, owned)).
		Watches(&corev1.Node{}, handler.EnqueueRequestsFromMapFunc(c.all), ctrl.WithPredicates(predicate.Funcs{UpdateFunc: concerns})).
		WithOptions(workers.Options(4)).
		Complete(c)
}

// concerns tells changes of a node that can change which pods it gets.
func concerns(e event.UpdateEvent) bool {
	old, now := e.ObjectOld.(*corev1.Node), e.ObjectNew.(*corev1.Node)
	return !equality.Semantic.DeepEqual(old.Labels, now.Labels) || !equality.Semantic.DeepEqual(old.Spec.Taints, now.Spec.Taints)
}

func (c *Controller) all(ctx context.Context, _ client.Object) []reconcile.Request {
	return c.those(ctx, "", func(*appsv1.DaemonSet) bool { return true })
}

// setsOf finds the sets that a change of a pod or revision concerns: its controller, or those that might
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
	return c.those(ctx, o.GetNamespace(), func(ds *appsv1.DaemonSet) bool {
		sel, err := metav1.LabelSelectorAsSelector(ds.Spec.Selector)
		return err == nil && !sel.Empty() && sel.Matches(labels.Set(o.GetLabels()))
	})
}

func (c *Controller) those(ctx context.Context, namespace string, want func(*appsv1.DaemonSet) bool) []reconcile.Request {
	var sets appsv1.DaemonSetList
	if !owner.Find(ctx, c.Client, &sets, namespace) {
		return nil
	}
	var out []reconcile.Request
	for i := range sets.Items {
		if want(&sets.Items[i]) {
			out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&sets.Items[i])})
		}
	}
	return out
}

// Reconcile implements reconcile.Reconciler.
func (c *Controller) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	ds := &appsv1.DaemonSet{}
	if err := c.Client.Get(ctx, req.NamespacedName, ds); err != nil {
		c.pending.Forget(req.NamespacedName)
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if ds.DeletionTimestamp != nil {
		c.backoff.forget(ds.UID)
		return reconcile.Result{}, nil // its pods go with it
	}
	result, err := c.sync(ctx, ds)
	if apierrors.IsConflict(err) {
		return reconcile.Result{RequeueAfter: time.Millisecond}, nil // somebody wrote meanwhile: look again
	}
	if apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		return reconcile.Result{}, nil // the set goes too
	}
	return result, err
}

func (c *Controller) sync(ctx context.Context, ds *appsv1.DaemonSet) (reconcile.Result, error) {
	sel, err := metav1.LabelSelectorAsSelector(ds.Spec.Selector)
	if err != nil || sel.Empty() {
		c.Recorder.Event(ds, corev1.EventTypeWarning, "SelectingAll", "This daemon set is selecting all pods. A non-empty selector is required.")
		return reconcile.Result{}, nil
	}
	s, settled, err := c.observe(ctx, ds, sel)
	if err != nil {
		return reconcile.Result{}, err
	}
	p := decide(s.state)
	var acted error
	if settled {
		acted = c.act(ctx, ds, &p, s.hash)
	}
	err = errors.Join(acted, c.report(ctx, ds, p.status), c.tidy(ctx, s))
	return reconcile.Result{RequeueAfter: p.wakeAfter}, err
}

// report writes the status when it differs from the stored one.
func (c *Controller) report(ctx context.Context, ds *appsv1.DaemonSet, status appsv1.DaemonSetStatus) error {
	if equality.Semantic.DeepEqual(ds.Status, status) {
		return nil
	}
	update := ds.DeepCopy()
	update.Status = status
	if err := client.IgnoreNotFound(c.Client.Status().Update(ctx, update)); err != nil {
		return fmt.Errorf("update status of daemon set %s: %w", client.ObjectKeyFromObject(ds), err)
	}
	return nil
}

func (c *Controller) live() client.Reader { return cmp.Or[client.Reader](c.Live, c.Client) }
