//lint:file-ignore SA1019 Endpoints are what this controller is about

// Package endpointslicemirroring shows the Endpoints that users write for Services without a selector as EndpointSlices, which
// is what service proxies, the cluster's DNS and newer clients read.
package endpointslicemirroring

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	ctrl "sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/gantryio/gantry/core/client/endpointslices"
	"github.com/gantryio/gantry/core/client/workers"
)

// mirrorsByService is the index of the slices that this controller manages, by namespace and Service.
const mirrorsByService = "endpointslicemirroring.service"

// Controller reconciles Endpoints.
type Controller struct {
	Client client.Client
	// Live reads past any cache. Nil means that Client's reads see all acknowledged writes.
	Live     client.Reader
	Recorder record.EventRecorder
}

var _ reconcile.Reconciler = (*Controller)(nil)

// SetupWithManager makes mgr run the controller.
func (c *Controller) SetupWithManager(mgr manager.Manager) error {
	err := mgr.GetFieldIndexer().IndexField(context.Background(), &discoveryv1.EndpointSlice{}, mirrorsByService, byService)
	if err != nil {
		return err
	}
	return ctrl.ControllerManagedBy(mgr).Named("endpointslice-mirroring").
		For(&corev1.Endpoints{}).
		Watches(&corev1.Service{}, &handler.EnqueueRequestForObject{}). // of the same name
		Watches(&discoveryv1.EndpointSlice{}, handler.EnqueueRequestsFromMapFunc(endpointsOf)).
		WithOptions(workers.Options(4)).
		Complete(c)
}

func byService(o client.Object) []string {
	if !ours(o.(*discoveryv1.EndpointSlice)) {
		return nil
	}
	return []string{o.GetNamespace() + "/" + o.GetLabels()[discoveryv1.LabelServiceName]}
}

func endpointsOf(_ context.Context, o client.Object) []reconcile.Request {
	if !ours(o.(*discoveryv1.EndpointSlice)) {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: o.GetNamespace(), Name: o.GetLabels()[discoveryv1.LabelServiceName]}}}
}

// Reconcile implements reconcile.Reconciler.
func (c *Controller) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	err := c.sync(ctx, req.NamespacedName)
	if apierrors.IsConflict(err) {
		return reconcile.Result{RequeueAfter: time.Millisecond}, nil // somebody wrote meanwhile: look again
	}
	return reconcile.Result{}, err
}

func (c *Controller) sync(ctx context.Context, key types.NamespacedName) error {
	ep, svc := &corev1.Endpoints{}, &corev1.Service{}
	if err := c.Client.Get(ctx, key, ep); apierrors.IsNotFound(err) {
		ep = nil
	} else if err != nil {
		return err
	}
	if err := c.Client.Get(ctx, key, svc); apierrors.IsNotFound(err) {
		svc = nil
	} else if err != nil {
		return err
	}
	var want []*discoveryv1.EndpointSlice
	if mirrored(ep, svc) {
		want = mirror(ep)
	}
	w := endpointslices.Writer{Client: c.Client, Live: c.Live, Recorder: c.Recorder, Ours: ours}
	return w.Settle(ctx, key, client.MatchingFields{mirrorsByService: key.String()}, ep, "Endpoints", func(have []*discoveryv1.EndpointSlice) endpointslices.Changes {
		return decide(have, want)
	})
}
