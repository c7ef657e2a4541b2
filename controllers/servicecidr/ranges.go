// Package servicecidr keeps the ranges of cluster IPs, ServiceCIDRs, as long as they are needed (KEP-1880), and repairs what the
// API server cannot have done: services whose IPAddress somebody deleted, and IPAddresses whose service was never written.
package servicecidr

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	ctrl "sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/gantryio/gantry/core/api/networking"
	"github.com/gantryio/gantry/core/client/clock"
	"github.com/gantryio/gantry/core/client/workers"
)

// Ranges reconciles ServiceCIDRs.
type Ranges struct {
	Client client.Client
	Clock  clock.Clock
}

var _ reconcile.Reconciler = (*Ranges)(nil)

// SetupWithManager makes mgr run the controller.
func (c *Ranges) SetupWithManager(mgr manager.Manager) error {
	ending := handler.EnqueueRequestsFromMapFunc(c.ending)
	return ctrl.ControllerManagedBy(mgr).Named("servicecidr").
		For(&networkingv1.ServiceCIDR{}).
		Watches(&networkingv1.ServiceCIDR{}, ending).
		Watches(&networkingv1.IPAddress{}, ending).
		WithOptions(workers.Options(1)).
		Complete(c)
}

// ending are the ranges that wait for addresses to go, or for another range to take them.
func (c *Ranges) ending(ctx context.Context, _ client.Object) []reconcile.Request {
	list := &networkingv1.ServiceCIDRList{}
	if err := c.Client.List(ctx, list); err != nil {
		return nil
	}
	var out []reconcile.Request
	for i := range list.Items {
		if list.Items[i].DeletionTimestamp != nil {
			out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
		}
	}
	return out
}

// Reconcile implements reconcile.Reconciler.
func (c *Ranges) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	stored := &networkingv1.ServiceCIDR{}
	if err := c.Client.Get(ctx, req.NamespacedName, stored); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	all, addresses := &networkingv1.ServiceCIDRList{}, []netip.Addr(nil)
	if stored.DeletionTimestamp != nil {
		if err := c.Client.List(ctx, all); err != nil {
			return reconcile.Result{}, fmt.Errorf("list service ranges: %w", err)
		}
		var err error
		if addresses, err = c.addresses(ctx); err != nil {
			return reconcile.Result{}, err
		}
	}
	a := plan(stored, all.Items, addresses, c.Clock.Now())
	return reconcile.Result{RequeueAfter: a.after}, c.act(ctx, stored.DeepCopy(), a)
}

func (c *Ranges) addresses(ctx context.Context) ([]netip.Addr, error) {
	list := &networkingv1.IPAddressList{}
	if err := c.Client.List(ctx, list, client.MatchingLabels{networkingv1.LabelManagedBy: networking.AllocatedBy}); err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	var out []netip.Addr
	for i := range list.Items {
		if a, err := netip.ParseAddr(list.Items[i].Name); err == nil {
			out = append(out, a)
		}
	}
	return out, nil
}

func (c *Ranges) act(ctx context.Context, r *networkingv1.ServiceCIDR, a action) error {
	if a.protect || a.release {
		if a.protect {
			r.Finalizers = append(r.Finalizers, finalizer)
		} else {
			r.Finalizers = slices.DeleteFunc(r.Finalizers, func(f string) bool { return f == finalizer })
		}
		if err := c.Client.Update(ctx, r); err != nil {
			return fmt.Errorf("protect or release service range %s: %w", r.Name, err)
		}
	}
	if a.condition == nil {
		return nil
	}
	meta.SetStatusCondition(&r.Status.Conditions, *a.condition)
	if err := c.Client.Status().Update(ctx, r); err != nil {
		return fmt.Errorf("report service range %s: %w", r.Name, err)
	}
	return nil
}
