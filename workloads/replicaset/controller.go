// Package replicaset keeps as many pods running as each ReplicaSet or ReplicationController asks for. It exists apart from
// deployment because a ReplicaSet knows of one template only: rolling from one template to another is
// the work of whoever owns the ReplicaSets.
//
// No pod is doubled or lost when the process dies between two writes: what exists is what the API
// lists, and what this process wrote but does not see listed yet is remembered until it is.
package replicaset

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/tools/record"
	ctrl "sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/gantryio/gantry/core/client/clock"
	"github.com/gantryio/gantry/core/client/owner"
	"github.com/gantryio/gantry/core/client/source"
	"github.com/gantryio/gantry/core/client/workers"
)

// Controller reconciles the objects of one kind.
type Controller struct {
	// Kind is ReplicaSets unless set.
	Kind   *Kind
	Client client.Client
	// Live reads past any cache. Nil means that Client's reads see all acknowledged writes.
	Live     client.Reader
	Recorder record.EventRecorder
	Clock    clock.Clock

	pending owner.Pending
	pace    pace
}

var _ reconcile.Reconciler = (*Controller)(nil)

// SetupWithManager makes mgr run the controller.
func (c *Controller) SetupWithManager(mgr manager.Manager) error {
	ctx, x := context.Background(), mgr.GetFieldIndexer()
	if err := errors.Join(owner.Index(ctx, x, &corev1.Pod{}), owner.Index(ctx, x, c.kind().empty())); err != nil {
		return err
	}
	return ctrl.ControllerManagedBy(mgr).Named(c.kind().name).
		For(c.kind().empty()).
		WatchesRawSource(source.Of(mgr.GetCache(), &corev1.Pod{}, owner.EnqueueOwner(c.setsOf))).
		WithOptions(workers.Options(8)).
		Complete(c)
}

func (c *Controller) kind() *Kind {
	if c.Kind != nil {
		return c.Kind
	}
	return ReplicaSets
}

// setsOf finds the sets that a change of a pod concerns: its controller, or those that might
// adopt it.
func (c *Controller) setsOf(ctx context.Context, o client.Object) []reconcile.Request {
	if ref := metav1.GetControllerOfNoCopy(o); ref != nil {
		if gvk := c.kind().gvk; ref.Kind != gvk.Kind || ref.APIVersion != gvk.GroupVersion().String() {
			return nil
		}
		return []reconcile.Request{{NamespacedName: client.ObjectKey{Namespace: o.GetNamespace(), Name: ref.Name}}}
	}
	if len(o.GetLabels()) == 0 {
		return nil
	}
	sets := c.kind().list()
	if !owner.Find(ctx, c.Client, sets, o.GetNamespace()) {
		return nil
	}
	var out []reconcile.Request
	for _, item := range c.kind().items(sets) {
		sel, err := metav1.LabelSelectorAsSelector(c.kind().neutral(item).Spec.Selector)
		if err == nil && !sel.Empty() && sel.Matches(labels.Set(o.GetLabels())) {
			out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(item)})
		}
	}
	return out
}

// Reconcile implements reconcile.Reconciler.
func (c *Controller) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	now := c.Clock.Now()
	if wait := c.pace.wait(req.NamespacedName, now); wait > 0 {
		return reconcile.Result{RequeueAfter: wait}, nil
	}
	self := c.kind().empty()
	if err := c.Client.Get(ctx, req.NamespacedName, self); err != nil {
		c.pending.Forget(req.NamespacedName)
		c.pace.forget(req.NamespacedName)
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	rs := set{c.kind().neutral(self), self}
	pods, settled, err := c.observe(ctx, rs)
	if err != nil {
		return reconcile.Result{}, err
	}
	p := decide(rs.ReplicaSet, pods, now)
	var acted error
	if settled {
		acted = c.act(ctx, rs, p)
	}
	p.status.Conditions = conditions(rs.ReplicaSet, p, acted, now)
	err = c.report(ctx, rs, p.status)
	c.pace.done(req.NamespacedName, now, len(pods))
	return reconcile.Result{RequeueAfter: p.wakeAfter}, errors.Join(acted, err)
}

// report writes the status when it differs from the stored one.
func (c *Controller) report(ctx context.Context, rs set, status appsv1.ReplicaSetStatus) error {
	if c.kind() != ReplicaSets {
		status.TerminatingReplicas = nil
	}
	if sameStatus(&rs.Status, &status) {
		return nil
	}
	update := c.kind().withStatus(rs.self, &status)
	if err := client.IgnoreNotFound(c.Client.Status().Update(ctx, update)); err != nil {
		return fmt.Errorf("update status of %s %s: %w", c.kind().name, client.ObjectKeyFromObject(rs), err)
	}
	return nil
}

func (c *Controller) live() client.Reader { return cmp.Or[client.Reader](c.Live, c.Client) }
