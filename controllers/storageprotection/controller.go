// Package storageprotection keeps claims that pods use, volumes that are bound, and classes of attributes that somebody has
// from going when they are deleted, until that has ended. Admission gives new objects the finalizers; here they are given
// to those that have none, and taken away.
package storageprotection

import (
	"cmp"
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	ctrl "sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/gantryio/gantry/core/client/source"
	"github.com/gantryio/gantry/core/client/workers"
)

// Controller reconciles claims, volumes and classes of attributes.
type Controller struct {
	Client client.Client
	// Live reads past any cache. Nil means that Client's reads see all acknowledged writes.
	Live client.Reader
}

// SetupWithManager makes mgr run the controller.
func (c *Controller) SetupWithManager(mgr manager.Manager) error {
	if err := ctrl.ControllerManagedBy(mgr).Named("pvc-protection").For(&corev1.PersistentVolumeClaim{}).
		WatchesRawSource(source.Of(mgr.GetCache(), &corev1.Pod{}, podEvents)).
		WithOptions(workers.Options(1)).Complete(reconcile.Func(c.claim)); err != nil {
		return fmt.Errorf("protect claims: %w", err)
	}
	if err := ctrl.ControllerManagedBy(mgr).Named("pv-protection").For(&corev1.PersistentVolume{}).
		WithOptions(workers.Options(1)).Complete(reconcile.Func(c.volume)); err != nil {
		return fmt.Errorf("protect volumes: %w", err)
	}
	if err := ctrl.ControllerManagedBy(mgr).Named("vac-protection").For(&storagev1.VolumeAttributesClass{}).
		Watches(&corev1.PersistentVolume{}, handler.Funcs{UpdateFunc: released, DeleteFunc: gone}).
		Watches(&corev1.PersistentVolumeClaim{}, handler.Funcs{UpdateFunc: released, DeleteFunc: gone}).
		WithOptions(workers.Options(1)).Complete(reconcile.Func(c.class)); err != nil {
		return fmt.Errorf("protect classes: %w", err)
	}
	return nil
}

func (c *Controller) claim(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	claim := &corev1.PersistentVolumeClaim{}
	if err := c.Client.Get(ctx, req.NamespacedName, claim); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	used := false
	if claim.DeletionTimestamp != nil {
		var pods corev1.PodList
		if err := c.live().List(ctx, &pods, client.InNamespace(req.Namespace)); err != nil {
			return reconcile.Result{}, fmt.Errorf("list pods of %s: %w", req.Namespace, err)
		}
		for i := range pods.Items {
			used = used || usesClaim(&pods.Items[i], claim)
		}
	}
	return c.write(ctx, claim, claimFinalizer, used)
}

func (c *Controller) volume(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	volume := &corev1.PersistentVolume{}
	if err := c.Client.Get(ctx, req.NamespacedName, volume); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	return c.write(ctx, volume, volumeFinalizer, volume.Status.Phase == corev1.VolumeBound)
}

func (c *Controller) class(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	class := &storagev1.VolumeAttributesClass{}
	if err := c.Client.Get(ctx, req.NamespacedName, class); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	used := false
	if class.DeletionTimestamp != nil {
		var volumes corev1.PersistentVolumeList
		var claims corev1.PersistentVolumeClaimList
		if err := c.live().List(ctx, &volumes); err != nil {
			return reconcile.Result{}, fmt.Errorf("list volumes: %w", err)
		}
		if err := c.live().List(ctx, &claims); err != nil {
			return reconcile.Result{}, fmt.Errorf("list claims: %w", err)
		}
		for i := range volumes.Items {
			used = used || usesClass(&volumes.Items[i], class)
		}
		for i := range claims.Items {
			used = used || usesClass(&claims.Items[i], class)
		}
	}
	return c.write(ctx, class, classFinalizer, used)
}

func (c *Controller) write(ctx context.Context, obj client.Object, finalizer string, used bool) (reconcile.Result, error) {
	finalizers, changed := plan(obj, finalizer, used)
	if !changed {
		return reconcile.Result{}, nil
	}
	update := obj.DeepCopyObject().(client.Object)
	update.SetFinalizers(finalizers)
	err := c.Client.Update(ctx, update)
	if apierrors.IsConflict(err) {
		return reconcile.Result{RequeueAfter: time.Millisecond}, nil // somebody wrote meanwhile: look again
	}
	if client.IgnoreNotFound(err) != nil {
		return reconcile.Result{}, fmt.Errorf("set finalizers of %s: %w", obj.GetName(), err)
	}
	return reconcile.Result{}, nil
}

func (c *Controller) live() client.Reader { return cmp.Or[client.Reader](c.Live, c.Client) }
