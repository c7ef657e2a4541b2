// Package statefulset keeps the pods of each StatefulSet, which have names and claims of their own, and
// moves them from one template to the next in the order of their ordinals.
//
// No pod is doubled when the process dies between two writes or its cache lags: names are fixed, and
// deletions name the pod's UID.
package statefulset

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
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
	"github.com/gantryio/gantry/core/client/source"
	"github.com/gantryio/gantry/core/client/workers"
)

var kind = appsv1.SchemeGroupVersion.WithKind("StatefulSet")

// Controller reconciles StatefulSets.
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
	ctx, x := context.Background(), mgr.GetFieldIndexer()
	if err := errors.Join(owner.Index(ctx, x, &corev1.Pod{}), owner.Index(ctx, x, &appsv1.ControllerRevision{})); err != nil {
		return err
	}
	owned := owner.EnqueueOwner(c.setsOf)
	return ctrl.ControllerManagedBy(mgr).Named("statefulset").
		For(&appsv1.StatefulSet{}).
		WatchesRawSource(source.Of(mgr.GetCache(), &corev1.Pod{}, owned)).
		WatchesRawSource(source.Of(mgr.GetCache(), &appsv1.ControllerRevision{}, owned)).
		Watches(&corev1.PersistentVolumeClaim{}, handler.EnqueueRequestsFromMapFunc(c.setsOfClaim)).
		WithOptions(workers.Options(8)).
		Complete(c)
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
	return c.those(ctx, o.GetNamespace(), func(set *appsv1.StatefulSet) bool {
		sel, err := metav1.LabelSelectorAsSelector(set.Spec.Selector)
		return err == nil && !sel.Empty() && sel.Matches(labels.Set(o.GetLabels()))
	})
}

// setsOfClaim finds the sets whose claim this is by its name.
func (c *Controller) setsOfClaim(ctx context.Context, o client.Object) []reconcile.Request {
	return c.those(ctx, o.GetNamespace(), func(set *appsv1.StatefulSet) bool {
		for i := range set.Spec.VolumeClaimTemplates {
			pod, ok := strings.CutPrefix(o.GetName(), set.Spec.VolumeClaimTemplates[i].Name+"-")
			if ok && ordinalOf(set, pod) >= 0 {
				return true
			}
		}
		return false
	})
}

func (c *Controller) those(ctx context.Context, namespace string, want func(*appsv1.StatefulSet) bool) []reconcile.Request {
	var sets appsv1.StatefulSetList
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
	set := &appsv1.StatefulSet{}
	if err := c.Client.Get(ctx, req.NamespacedName, set); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	result, err := c.sync(ctx, set)
	if apierrors.IsConflict(err) {
		return reconcile.Result{RequeueAfter: time.Millisecond}, nil // somebody wrote meanwhile: look again
	}
	if apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		return reconcile.Result{}, nil // the set goes too
	}
	return result, err
}

func (c *Controller) sync(ctx context.Context, set *appsv1.StatefulSet) (reconcile.Result, error) {
	sel, err := metav1.LabelSelectorAsSelector(set.Spec.Selector)
	if err != nil || sel.Empty() {
		return reconcile.Result{}, nil // such a set would own everything
	}
	s, known, err := c.observe(ctx, set, sel)
	if err != nil {
		return reconcile.Result{}, err
	}
	p, err := decide(s)
	if err != nil {
		return reconcile.Result{}, err
	}
	acted := c.act(ctx, set, &p)
	err = errors.Join(acted, c.report(ctx, set, p.status), c.tidy(ctx, &s, known))
	return reconcile.Result{RequeueAfter: p.wakeAfter}, err
}

// report writes the status when it differs from the stored one.
func (c *Controller) report(ctx context.Context, set *appsv1.StatefulSet, status appsv1.StatefulSetStatus) error {
	if equality.Semantic.DeepEqual(set.Status, status) {
		return nil
	}
	update := set.DeepCopy()
	update.Status = status
	if err := client.IgnoreNotFound(c.Client.Status().Update(ctx, update)); err != nil {
		return fmt.Errorf("update status of stateful set %s: %w", client.ObjectKeyFromObject(set), err)
	}
	return nil
}

func (c *Controller) live() client.Reader { return cmp.Or[client.Reader](c.Live, c.Client) }
