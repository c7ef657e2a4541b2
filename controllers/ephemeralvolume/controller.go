// Package ephemeralvolume makes the claims of pods' generic ephemeral volumes. They belong to their pods, and the garbage
// collector takes them away with these.
package ephemeralvolume

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/gantryio/gantry/core/client/workers"
)

// Controller reconciles pods with ephemeral volumes.
type Controller struct {
	Client   client.Client
	Recorder record.EventRecorder
}

var _ reconcile.Reconciler = (*Controller)(nil)

// SetupWithManager makes mgr run the controller.
func (c *Controller) SetupWithManager(mgr manager.Manager) error {
	fresh := predicate.Funcs{
		CreateFunc:  func(e event.CreateEvent) bool { return concerns(e.Object.(*corev1.Pod)) },
		UpdateFunc:  func(event.UpdateEvent) bool { return false }, // volumes do not change
		DeleteFunc:  func(event.DeleteEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
	}
	return ctrl.ControllerManagedBy(mgr).Named("ephemeralvolume").
		For(&corev1.Pod{}, ctrl.WithPredicates(fresh)).
		Watches(&corev1.PersistentVolumeClaim{}, handler.Funcs{DeleteFunc: again}).
		WithOptions(workers.Options(1)).
		Complete(c)
}

// again looks at the pod whose claim has gone.
func again(_ context.Context, e event.DeleteEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
	if ref := metav1.GetControllerOf(e.Object); ref != nil && ref.Kind == "Pod" {
		q.Add(reconcile.Request{NamespacedName: types.NamespacedName{Namespace: e.Object.GetNamespace(), Name: ref.Name}})
	}
}

// Reconcile implements reconcile.Reconciler.
func (c *Controller) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	pod := &corev1.Pod{}
	if err := c.Client.Get(ctx, req.NamespacedName, pod); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	var list corev1.PersistentVolumeClaimList
	if err := c.Client.List(ctx, &list, client.InNamespace(pod.Namespace)); err != nil {
		return reconcile.Result{}, fmt.Errorf("list claims of %s: %w", pod.Namespace, err)
	}
	claims := map[string]*corev1.PersistentVolumeClaim{}
	for i := range list.Items {
		claims[list.Items[i].Name] = &list.Items[i]
	}
	create, errs := plan(pod, claims)
	for _, claim := range create {
		err := c.Client.Create(ctx, claim)
		if apierrors.IsAlreadyExists(err) {
			err = fmt.Errorf("create claim %s: %w", claim.Name, err) // it may be this pod's: look again
		} else if err != nil {
			c.Recorder.Eventf(pod, corev1.EventTypeWarning, "ClaimCreationFailed", "PVC creation failed: %v", err)
		}
		errs = append(errs, err)
	}
	return reconcile.Result{}, errors.Join(errs...)
}
