package servicecidr

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	ctrl "sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/gantryio/gantry/core/api/networking"
	"github.com/gantryio/gantry/core/client/clock"
	"github.com/gantryio/gantry/core/client/workers"
)

// Addresses reconciles the IPAddresses of services with these.
type Addresses struct {
	Client   client.Client
	Recorder record.EventRecorder
	Clock    clock.Clock
}

var _ reconcile.Reconciler = (*Addresses)(nil)

// SetupWithManager makes mgr run the controller.
func (c *Addresses) SetupWithManager(mgr manager.Manager) error {
	return ctrl.ControllerManagedBy(mgr).Named("ipaddress").
		For(&corev1.Service{}).
		Watches(&networkingv1.IPAddress{}, handler.EnqueueRequestsFromMapFunc(parentOf)).
		WithOptions(workers.Options(1)).
		Complete(c)
}

// parentOf is the address itself, whose requests have no namespace, and the service that it is of.
func parentOf(_ context.Context, obj client.Object) []reconcile.Request {
	out := []reconcile.Request{{NamespacedName: types.NamespacedName{Name: obj.GetName()}}}
	if r := obj.(*networkingv1.IPAddress).Spec.ParentRef; r != nil && r.Resource == "services" {
		out = append(out, reconcile.Request{NamespacedName: types.NamespacedName{Namespace: r.Namespace, Name: r.Name}})
	}
	return out
}

// Reconcile implements reconcile.Reconciler.
func (c *Addresses) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	if req.Namespace == "" {
		return c.address(ctx, req.Name)
	}
	svc := &corev1.Service{}
	if err := c.Client.Get(ctx, req.NamespacedName, svc); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	for _, ip := range clusterIPs(svc) {
		if err := c.keep(ctx, svc, ip); err != nil {
			return reconcile.Result{}, err
		}
	}
	return reconcile.Result{}, nil
}

func clusterIPs(svc *corev1.Service) []string {
	if svc.Spec.Type == corev1.ServiceTypeExternalName || svc.Spec.ClusterIP == corev1.ClusterIPNone {
		return nil
	}
	return svc.Spec.ClusterIPs
}

// keep makes an address again that the service has and somebody deleted.
func (c *Addresses) keep(ctx context.Context, svc *corev1.Service, ip string) error {
	have := &networkingv1.IPAddress{}
	err := c.Client.Get(ctx, types.NamespacedName{Name: ip}, have)
	switch {
	case err == nil && networking.BelongsTo(have, svc):
		return nil
	case err == nil:
		c.Recorder.Eventf(svc, corev1.EventTypeWarning, "ClusterIPAlreadyAllocated", "Cluster IP %s was assigned to multiple services; please recreate service", ip)
		return nil
	case !apierrors.IsNotFound(err):
		return fmt.Errorf("read address %s: %w", ip, err)
	}
	c.Recorder.Eventf(svc, corev1.EventTypeWarning, "ClusterIPNotAllocated", "Cluster IP %s is not allocated; repairing", ip)
	if err := c.Client.Create(ctx, networking.NewAddress(ip, svc)); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("make address %s again: %w", ip, err)
	}
	return nil
}

// address deletes an address that no service has, once it is old enough.
func (c *Addresses) address(ctx context.Context, ip string) (reconcile.Result, error) {
	a := &networkingv1.IPAddress{}
	if err := c.Client.Get(ctx, types.NamespacedName{Name: ip}, a); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	r := a.Spec.ParentRef
	if a.Labels[networkingv1.LabelManagedBy] != networking.AllocatedBy || r == nil || r.Resource != "services" {
		return reconcile.Result{}, nil // somebody else's
	}
	svc := &corev1.Service{}
	err := c.Client.Get(ctx, types.NamespacedName{Namespace: r.Namespace, Name: r.Name}, svc)
	if err != nil && !apierrors.IsNotFound(err) {
		return reconcile.Result{}, fmt.Errorf("read service of address %s: %w", ip, err)
	}
	if err == nil && slices.Contains(clusterIPs(svc), ip) {
		return reconcile.Result{}, nil
	}
	if left := grace - c.Clock.Now().Sub(a.CreationTimestamp.Time); left > 0 {
		return reconcile.Result{RequeueAfter: left}, nil
	}
	err = c.Client.Delete(ctx, a.DeepCopy(), client.Preconditions{UID: &a.UID, ResourceVersion: &a.ResourceVersion})
	if client.IgnoreNotFound(err) != nil {
		return reconcile.Result{}, fmt.Errorf("delete address %s: %w", ip, err)
	}
	return reconcile.Result{}, nil
}
