// Package deployment moves ReplicaSets from one pod template to the next without taking more pods away
// than a Deployment allows. It touches ReplicaSets only; the pods are theirs.
//
// A new ReplicaSet's name is made of the template, so that a process that dies between two writes, or
// whose cache lags, finds the set that it made. All other writes carry the version they were decided on.
package deployment

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
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/gantryio/gantry/core/client/clock"
	"github.com/gantryio/gantry/core/client/owner"
	"github.com/gantryio/gantry/core/client/workers"
)

var kind = appsv1.SchemeGroupVersion.WithKind("Deployment")

// Controller reconciles Deployments.
type Controller struct {
	Client client.Client
	// Live reads past any cache. Nil means that Client's reads see all acknowledged writes.
	Live     client.Reader
	Recorder record.EventRecorder
	Clock    clock.Clock
}

var _ reconcile.Reconciler = (*Controller)(nil)

// SetupWithManager makes mgr run the controller.
func (c *Controller) SetupWithManager(mgr manager.Manager) error {
	if err := owner.Index(context.Background(), mgr.GetFieldIndexer(), &appsv1.ReplicaSet{}); err != nil {
		return err
	}
	return ctrl.ControllerManagedBy(mgr).Named("deployment").
		For(&appsv1.Deployment{}).
		Watches(&appsv1.ReplicaSet{}, handler.EnqueueRequestsFromMapFunc(c.deploymentsOf)).
		WithOptions(workers.Options(8)).
		Complete(c)
}

// deploymentsOf finds the Deployments that a change of a set concerns: its controller, or those that
// might adopt it.
func (c *Controller) deploymentsOf(ctx context.Context, o client.Object) []reconcile.Request {
	if ref := metav1.GetControllerOfNoCopy(o); ref != nil {
		if ref.Kind != kind.Kind || ref.APIVersion != kind.GroupVersion().String() {
			return nil
		}
		return []reconcile.Request{{NamespacedName: client.ObjectKey{Namespace: o.GetNamespace(), Name: ref.Name}}}
	}
	var all appsv1.DeploymentList
	if len(o.GetLabels()) == 0 || c.Client.List(ctx, &all, client.InNamespace(o.GetNamespace())) != nil {
		return nil
	}
	var out []reconcile.Request
	for i := range all.Items {
		sel, err := metav1.LabelSelectorAsSelector(all.Items[i].Spec.Selector)
		if err == nil && !sel.Empty() && sel.Matches(labels.Set(o.GetLabels())) {
			out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&all.Items[i])})
		}
	}
	return out
}

// Reconcile implements reconcile.Reconciler.
func (c *Controller) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	d := &appsv1.Deployment{}
	if err := c.Client.Get(ctx, req.NamespacedName, d); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	sets, err := c.observe(ctx, d)
	if apierrors.IsConflict(err) {
		return reconcile.Result{RequeueAfter: time.Millisecond}, nil
	}
	if err != nil {
		return reconcile.Result{}, err
	}
	p := decide(d, sets, c.Clock.Now())
	if p.create != nil || len(p.write) > 0 {
		if ok, err := c.current(ctx, d, sets); !ok || err != nil {
			return reconcile.Result{RequeueAfter: staleAfter}, err
		}
	}
	if p.back != nil {
		err = c.back(ctx, d, &p)
	} else {
		err = c.act(ctx, d, &p)
		err = errors.Join(err, c.report(ctx, d, &p))
	}
	if apierrors.IsConflict(err) {
		return reconcile.Result{RequeueAfter: time.Millisecond}, nil // somebody wrote meanwhile: look again
	}
	return reconcile.Result{RequeueAfter: p.wakeAfter}, err
}

// report writes the revision and the status where they differ from what is stored.
func (c *Controller) report(ctx context.Context, d *appsv1.Deployment, p *plan) error {
	update := d.DeepCopy()
	if p.revision != "" && d.Annotations[revisionAnnotation] != p.revision {
		metav1.SetMetaDataAnnotation(&update.ObjectMeta, revisionAnnotation, p.revision)
		if err := c.Client.Patch(ctx, update, client.MergeFrom(d)); err != nil {
			return fmt.Errorf("annotate deployment %s: %w", client.ObjectKeyFromObject(d), err)
		}
		update = update.DeepCopy()
	}
	if equality.Semantic.DeepEqual(d.Status, p.status) {
		return nil
	}
	update.Status = p.status
	if err := c.Client.Status().Update(ctx, update); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("update status of deployment %s: %w", client.ObjectKeyFromObject(d), err)
	}
	return nil
}

func (c *Controller) live() client.Reader { return cmp.Or[client.Reader](c.Live, c.Client) }

func (c *Controller) event(d *appsv1.Deployment, kind, reason, format string, args ...any) {
	c.Recorder.Eventf(d, kind, reason, format, args...)
}

const warning, normal = corev1.EventTypeWarning, corev1.EventTypeNormal
