// Package apiservice registers the group versions that the server serves itself, and finds out whether those that other API
// servers serve can be used. The API server passes requests on to those that can.
package apiservice

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	"k8s.io/kube-aggregator/pkg/apis/apiregistration/v1/helper"
	ctrl "sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/gantryio/gantry/core/api/apiregistration"
	"github.com/gantryio/gantry/core/client/clock"
	"github.com/gantryio/gantry/core/client/workers"
)

const (
	// checkAgain is how often a server is asked that nothing is known against.
	checkAgain = 30 * time.Second
	// A server that did not answer is asked again after firstRetry, and then ever more seldom up to checkAgain.
	firstRetry = 50 * time.Millisecond
	// parallel keeps one server that does not answer from holding up the others.
	parallel = 5
)

// Controller reconciles APIServices.
type Controller struct {
	Client client.Client
	Clock  clock.Clock
	// Builtin are the group versions that the server has built in. Of those that are Computed an administrator may install
	// another server, and gets the built-in one back by deleting its APIService.
	Builtin, Computed []schema.GroupVersion
	// Check asks the server of an APIService whether it serves it.
	Check func(ctx context.Context, s *apiregistrationv1.APIService) error

	backoff workqueue.TypedRateLimiter[string]
	mu      sync.Mutex
	looked  map[string]bool
}

var _ reconcile.Reconciler = (*Controller)(nil)

// SetupWithManager makes mgr run the controller.
func (c *Controller) SetupWithManager(mgr manager.Manager) error {
	c.looked = map[string]bool{}
	c.backoff = workqueue.NewTypedItemExponentialFailureRateLimiter[string](firstRetry, checkAgain)
	start := make(chan event.TypedGenericEvent[client.Object], len(c.Builtin)+len(c.Computed))
	for _, gvs := range [][]schema.GroupVersion{c.Builtin, c.Computed} {
		for _, gv := range gvs {
			start <- event.TypedGenericEvent[client.Object]{Object: apiregistration.Local(gv, apiregistration.Priority{}, "")}
		}
	}
	return ctrl.ControllerManagedBy(mgr).Named("apiservice").
		For(&apiregistrationv1.APIService{}, ctrl.WithPredicates(predicate.Funcs{UpdateFunc: changed})).
		Watches(&corev1.Service{}, handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, svc client.Object) []reconcile.Request {
			return c.behind(ctx, client.ObjectKeyFromObject(svc))
		})).
		Watches(&discoveryv1.EndpointSlice{}, handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, e client.Object) []reconcile.Request {
			return c.behind(ctx, client.ObjectKey{Namespace: e.GetNamespace(), Name: e.GetLabels()[discoveryv1.LabelServiceName]})
		})).
		Watches(&apiextensionsv1.CustomResourceDefinition{}, handler.Funcs{
			CreateFunc: func(_ context.Context, e event.CreateEvent, q queue) { enqueueVersions(e.Object, q) },
			UpdateFunc: func(_ context.Context, e event.UpdateEvent, q queue) {
				enqueueVersions(e.ObjectOld, q)
				enqueueVersions(e.ObjectNew, q)
			},
			DeleteFunc: func(_ context.Context, e event.DeleteEvent, q queue) { enqueueVersions(e.Object, q) },
		}).
		WatchesRawSource(source.Channel(start, &handler.EnqueueRequestForObject{})).
		WithOptions(workers.Options(parallel)).
		Complete(c)
}

// changed leaves out what the controller itself reports: an error that is told differently each time would be reported for ever.
func changed(e event.UpdateEvent) bool {
	old, now := e.ObjectOld.(*apiregistrationv1.APIService), e.ObjectNew.(*apiregistrationv1.APIService)
	return !specsEqual(&old.Spec, &now.Spec) || !maps.Equal(old.Labels, now.Labels)
}

type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

// enqueueVersions looks at the APIServices of all versions of a definition.
func enqueueVersions(of client.Object, q queue) {
	crd := of.(*apiextensionsv1.CustomResourceDefinition)
	for _, v := range crd.Spec.Versions {
		q.Add(requestOf(apiregistration.NameOf(schema.GroupVersion{Group: crd.Spec.Group, Version: v.Name})))
	}
}

func requestOf(name string) reconcile.Request {
	return reconcile.Request{NamespacedName: types.NamespacedName{Name: name}}
}

// behind are the APIServices whose server is behind a Service.
func (c *Controller) behind(ctx context.Context, svc client.ObjectKey) []reconcile.Request {
	var list apiregistrationv1.APIServiceList
	if err := c.Client.List(ctx, &list); err != nil {
		return nil
	}
	var out []reconcile.Request
	for _, s := range list.Items {
		if ref := s.Spec.Service; ref != nil && ref.Namespace == svc.Namespace && ref.Name == svc.Name {
			out = append(out, requestOf(s.Name))
		}
	}
	return out
}

// Reconcile implements reconcile.Reconciler.
func (c *Controller) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	have := &apiregistrationv1.APIService{}
	err := c.Client.Get(ctx, req.NamespacedName, have)
	if apierrors.IsNotFound(err) {
		have = nil
	} else if err != nil {
		return reconcile.Result{}, fmt.Errorf("get API service %s: %w", req.Name, err)
	}
	changed, err := c.register(ctx, req.Name, have)
	if err != nil || changed || have == nil {
		return again(err)
	}
	if !apiregistration.Remote(have) {
		return again(c.report(ctx, have, verdict{apiregistrationv1.ConditionTrue, "Local", "Local APIServices are always available"}))
	}
	return c.check(ctx, have)
}

// again turns a lost race into another try.
func again(err error) (reconcile.Result, error) {
	if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) {
		return reconcile.Result{RequeueAfter: time.Millisecond}, nil
	}
	return reconcile.Result{}, client.IgnoreNotFound(err)
}

// check finds out whether a server can be used, and says so.
func (c *Controller) check(ctx context.Context, s *apiregistrationv1.APIService) (reconcile.Result, error) {
	svc := &corev1.Service{}
	key := client.ObjectKey{Namespace: s.Spec.Service.Namespace, Name: s.Spec.Service.Name}
	if err := c.Client.Get(ctx, key, svc); apierrors.IsNotFound(err) {
		svc = nil
	} else if err != nil {
		return reconcile.Result{}, fmt.Errorf("get service %s: %w", key, err)
	}
	var slices discoveryv1.EndpointSliceList
	if err := c.Client.List(ctx, &slices, client.InNamespace(key.Namespace), client.MatchingLabels{discoveryv1.LabelServiceName: key.Name}); err != nil {
		return reconcile.Result{}, fmt.Errorf("list endpoint slices of %s: %w", key, err)
	}
	v, after := judge(s, svc, slices.Items), checkAgain
	if v == passed {
		if err := c.Check(ctx, s); err != nil {
			v = verdict{apiregistrationv1.ConditionFalse, "FailedDiscoveryCheck", err.Error()}
			after = c.backoff.When(s.Name)
		}
	}
	if v == passed {
		c.backoff.Forget(s.Name)
	}
	if err := c.report(ctx, s, v); err != nil {
		return again(err)
	}
	return reconcile.Result{RequeueAfter: after}, nil
}

// report writes a condition that is new.
func (c *Controller) report(ctx context.Context, s *apiregistrationv1.APIService, v verdict) error {
	told := s.DeepCopy()
	helper.SetAPIServiceCondition(told, apiregistrationv1.APIServiceCondition{
		Type: apiregistrationv1.Available, Status: v.status, Reason: v.reason, Message: v.message,
		LastTransitionTime: metav1.NewTime(c.Clock.Now()).Rfc3339Copy(),
	})
	if equality.Semantic.DeepEqual(s.Status, told.Status) {
		return nil
	}
	if err := c.Client.Status().Update(ctx, told); err != nil {
		return fmt.Errorf("update status of API service %s: %w", s.Name, err)
	}
	return nil
}
