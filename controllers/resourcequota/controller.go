// Package resourcequota counts what the objects of a namespace use of its quotas. New objects are added by the API server when
// it lets them in; here is counted what is there when a quota is new or has changed, and when something has gone.
package resourcequota

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/api/quota"
	"github.com/gantryio/gantry/core/client/defined"
	"github.com/gantryio/gantry/core/client/source"
	"github.com/gantryio/gantry/core/client/workers"
)

const (
	// audit is how often a quota is counted without an event.
	audit = 5 * time.Minute
	// settling is when a quota is counted again that requests were being charged to meanwhile.
	settling = 50 * time.Millisecond
)

// Kind is a kind whose objects can be counted.
type Kind struct {
	schema.GroupVersionKind
	Plural string
}

func (k Kind) resource() schema.GroupResource {
	return schema.GroupResource{Group: k.Group, Resource: k.Plural}
}

// Controller reconciles ResourceQuotas.
type Controller struct {
	Client client.Client
	// Live reads past any cache. Nil means that Client's reads see all acknowledged writes.
	Live client.Reader
	// Kinds are all namespaced kinds that the server has of its own. Those that users define are found by their definitions.
	Kinds []Kind
	// UnderWay are the charges of writes whose outcome may not be seen yet; nil for none.
	UnderWay func(of types.NamespacedName) []quota.Charge

	defined defined.Kinds
}

var _ reconcile.Reconciler = (*Controller)(nil)

// SetupWithManager makes mgr run the controller.
func (c *Controller) SetupWithManager(mgr manager.Manager) error {
	b := ctrl.ControllerManagedBy(mgr).Named("resourcequota").For(&corev1.ResourceQuota{}, ctrl.WithPredicates(respecified())).
		WithOptions(workers.Options(4))
	for _, k := range c.Kinds {
		obj := typed(k)
		if obj == nil {
			obj = metadata(k.GroupVersionKind)
		}
		b = b.WatchesRawSource(source.Of(mgr.GetCache(), obj, c.events(k.resource())))
	}
	made, err := b.Build(c)
	if err != nil {
		return fmt.Errorf("set up the controller of quotas: %w", err)
	}
	return c.follow(mgr, made)
}

// typed is an object of a kind of which more is counted than how many there are; nil for the others.
func typed(k Kind) client.Object {
	switch k.resource() {
	case schema.GroupResource{Resource: "pods"}:
		return &corev1.Pod{}
	case schema.GroupResource{Resource: "services"}:
		return &corev1.Service{}
	case schema.GroupResource{Resource: "persistentvolumeclaims"}:
		return &corev1.PersistentVolumeClaim{}
	}
	return nil
}

func metadata(gvk schema.GroupVersionKind) *metav1.PartialObjectMetadata {
	m := &metav1.PartialObjectMetadata{}
	m.SetGroupVersionKind(gvk)
	return m
}

// Reconcile implements reconcile.Reconciler.
func (c *Controller) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	q := &corev1.ResourceQuota{}
	// The order matters: what is charged after the quota was read makes the write fail, what was charged before is either
	// under way or seen.
	if err := c.live().Get(ctx, req.NamespacedName, q); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	var underWay []quota.Charge
	if c.UnderWay != nil {
		underWay = c.UnderWay(req.NamespacedName)
	}
	all, err := c.observe(ctx, q)
	if err != nil {
		return reconcile.Result{}, err
	}
	again := reconcile.Result{RequeueAfter: audit}
	if len(underWay) > 0 {
		again.RequeueAfter = settling
	}
	status, changed := plan(q, all, underWay)
	if !changed {
		return again, nil
	}
	update := q.DeepCopy()
	update.Status = status
	err = c.Client.Status().Update(ctx, update)
	if apierrors.IsConflict(err) {
		return reconcile.Result{RequeueAfter: time.Millisecond}, nil
	}
	if client.IgnoreNotFound(err) != nil {
		return reconcile.Result{}, fmt.Errorf("update status of %s: %w", req.NamespacedName, err)
	}
	return again, nil
}

func (c *Controller) observe(ctx context.Context, q *corev1.ResourceQuota) (objects, error) {
	out := objects{}
	kinds := slices.Clone(c.Kinds)
	for _, k := range c.defined.All() {
		if k.Namespaced {
			kinds = append(kinds, counted(k))
		}
	}
	for _, k := range kinds {
		if !counts(q, k.resource()) {
			continue
		}
		list, err := c.list(ctx, k, q.Namespace)
		if err != nil {
			return nil, fmt.Errorf("list %s of %s: %w", k.Plural, q.Namespace, err)
		}
		out[k.resource()] = list
	}
	return out, nil
}

func (c *Controller) list(ctx context.Context, k Kind, namespace string) ([]api.Object, error) {
	var list client.ObjectList
	switch typed(k).(type) {
	case *corev1.Pod:
		list = &corev1.PodList{}
	case *corev1.Service:
		list = &corev1.ServiceList{}
	case *corev1.PersistentVolumeClaim:
		list = &corev1.PersistentVolumeClaimList{}
	default:
		m := &metav1.PartialObjectMetadataList{}
		m.SetGroupVersionKind(k.GroupVersion().WithKind(k.Kind + "List"))
		list = m
	}
	if err := c.live().List(ctx, list, client.InNamespace(namespace)); err != nil {
		return nil, err
	}
	items, err := meta.ExtractList(list)
	if err != nil {
		return nil, err
	}
	out := make([]api.Object, len(items))
	for i := range items {
		out[i] = items[i].(api.Object)
	}
	return out, nil
}

func (c *Controller) live() client.Reader { return cmp.Or[client.Reader](c.Live, c.Client) }
