// Package customresource decides about CustomResourceDefinitions: which names they get, when they are established, and when one
// that is being deleted may go, which is after its objects. The API server serves what is established.
package customresource

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	ctrl "sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/gantryio/gantry/core/api/apiextensions"
	"github.com/gantryio/gantry/core/client/clock"
	"github.com/gantryio/gantry/core/client/workers"
)

// lookAgain is how often the last objects of a deleted definition are counted: their kind has no events here.
const lookAgain = 200 * time.Millisecond

// Controller reconciles CustomResourceDefinitions.
type Controller struct {
	// Client must be allowed to list and delete objects of any kind.
	Client client.Client
	Clock  clock.Clock
}

var _ reconcile.Reconciler = (*Controller)(nil)

// SetupWithManager makes mgr run the controller.
func (c *Controller) SetupWithManager(mgr manager.Manager) error {
	return ctrl.ControllerManagedBy(mgr).Named("customresource").
		For(&definition{}).
		Watches(&definition{}, handler.EnqueueRequestsFromMapFunc(c.rivals)).
		WithOptions(workers.Options(1)).
		Complete(c)
}

// rivals are the definitions that wait for a name that others in their group have.
func (c *Controller) rivals(ctx context.Context, of client.Object) []reconcile.Request {
	all, err := c.ofGroup(ctx, of.(*definition).Spec.Group)
	if err != nil {
		return nil
	}
	var out []reconcile.Request
	for _, d := range all {
		if d.Name != of.GetName() && !has(&d.Status, apiextensionsv1.NamesAccepted) {
			out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(d)})
		}
	}
	return out
}

func (c *Controller) ofGroup(ctx context.Context, group string) ([]*definition, error) {
	var list apiextensionsv1.CustomResourceDefinitionList
	if err := c.Client.List(ctx, &list); err != nil {
		return nil, fmt.Errorf("list definitions: %w", err)
	}
	var out []*definition
	for i := range list.Items {
		if list.Items[i].Spec.Group == group {
			out = append(out, &list.Items[i])
		}
	}
	return out, nil
}

// Reconcile implements reconcile.Reconciler.
func (c *Controller) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	d := &definition{}
	if err := c.Client.Get(ctx, req.NamespacedName, d); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if d.DeletionTimestamp != nil && slices.Contains(d.Finalizers, apiextensions.CleanupFinalizer) {
		return c.cleanUp(ctx, d)
	}
	others, err := c.ofGroup(ctx, d.Spec.Group)
	if err != nil {
		return reconcile.Result{}, err
	}
	_, err = c.report(ctx, d, accept(d, others, c.now()))
	return again(err)
}

// again turns a lost race into another try.
func again(err error) (reconcile.Result, error) {
	if apierrors.IsConflict(err) {
		return reconcile.Result{RequeueAfter: time.Millisecond}, nil
	}
	return reconcile.Result{}, client.IgnoreNotFound(err)
}

func (c *Controller) now() metav1.Time { return metav1.NewTime(c.Clock.Now().Truncate(time.Second)) }

// report writes a status that is new, and returns the definition as it is then.
func (c *Controller) report(ctx context.Context, d *definition, status apiextensionsv1.CustomResourceDefinitionStatus) (*definition, error) {
	if equality.Semantic.DeepEqual(d.Status, status) {
		return d, nil
	}
	update := d.DeepCopy()
	update.Status = status
	if err := c.Client.Status().Update(ctx, update); err != nil {
		return nil, fmt.Errorf("update status of definition %s: %w", d.Name, err)
	}
	return update, nil
}

// cleanUp deletes the objects of a definition and lets it go when there are none.
func (c *Controller) cleanUp(ctx context.Context, d *definition) (reconcile.Result, error) {
	left := 0
	if has(&d.Status, apiextensionsv1.Established) {
		var err error
		if left, err = c.empty(ctx, d); err != nil {
			return again(err)
		}
	}
	d, err := c.report(ctx, d, terminating(d, left, c.now()))
	if err != nil {
		return again(err)
	}
	if left > 0 {
		return reconcile.Result{RequeueAfter: lookAgain}, nil
	}
	update := d.DeepCopy()
	update.Finalizers = slices.DeleteFunc(update.Finalizers, func(f string) bool { return f == apiextensions.CleanupFinalizer })
	if err := c.Client.Update(ctx, update); err != nil {
		return again(fmt.Errorf("finalize definition %s: %w", d.Name, err))
	}
	return reconcile.Result{}, nil
}

// empty deletes all objects and returns how many are left.
func (c *Controller) empty(ctx context.Context, d *definition) (int, error) {
	gvk := schema.GroupVersionKind{Group: d.Spec.Group, Version: apiextensions.ServedVersion(d), Kind: d.Status.AcceptedNames.Kind}
	if gvk.Version == "" {
		return 0, nil // nobody can tell
	}
	items, err := c.list(ctx, gvk)
	if err != nil {
		return 0, err
	}
	var failed []error
	for i := range items {
		if items[i].DeletionTimestamp != nil {
			continue
		}
		one := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: items[i].Namespace, Name: items[i].Name}}
		one.SetGroupVersionKind(gvk)
		if err := c.Client.Delete(ctx, one); client.IgnoreNotFound(err) != nil {
			failed = append(failed, fmt.Errorf("delete %s %s/%s: %w", gvk.Kind, one.Namespace, one.Name, err))
		}
	}
	if err := errors.Join(failed...); err != nil {
		return len(items), err
	}
	items, err = c.list(ctx, gvk)
	return len(items), err
}

func (c *Controller) list(ctx context.Context, gvk schema.GroupVersionKind) ([]metav1.PartialObjectMetadata, error) {
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(gvk.GroupVersion().WithKind(gvk.Kind + "List"))
	if err := c.Client.List(ctx, list); err != nil {
		if meta.IsNoMatchError(err) {
			return nil, fmt.Errorf("%s is not served yet: %w", gvk, err)
		}
		return nil, fmt.Errorf("list %s: %w", gvk, err)
	}
	return list.Items, nil
}
