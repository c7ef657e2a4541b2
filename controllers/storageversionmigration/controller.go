// Package storageversionmigration writes the objects of a kind anew, as StorageVersionMigrations ask, so that all of them are
// stored in the present version and encoding. It is Kubernetes' storage-version-migrator-controller.
package storageversionmigration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/gantryio/gantry/core/client/clock"
	"github.com/gantryio/gantry/core/client/workers"
)

// lookAgain is how often an unknown kind is looked for.
const lookAgain = time.Second

// Controller reconciles StorageVersionMigrations.
type Controller struct {
	// Client must be allowed to list and patch objects of any kind.
	Client client.Client
	// Stored tells the kind of a resource that is stored, false when there is none.
	Stored func(schema.GroupResource) (schema.GroupVersionKind, bool)
	Clock  clock.Clock
}

var _ reconcile.Reconciler = (*Controller)(nil)

// SetupWithManager makes mgr run the controller.
func (c *Controller) SetupWithManager(mgr manager.Manager) error {
	return ctrl.ControllerManagedBy(mgr).Named("storageversionmigration").For(&migration{}).WithOptions(workers.Options(1)).Complete(c)
}

// Reconcile implements reconcile.Reconciler.
func (c *Controller) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	stored := &migration{}
	if err := c.Client.Get(ctx, req.NamespacedName, stored); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	m := stored.DeepCopy()
	kind, known := c.Stored(schema.GroupResource(m.Spec.Resource))
	switch next(m, known, c.Clock.Now()) {
	case wait:
		return reconcile.Result{RequeueAfter: lookAgain}, nil
	case fail:
		report(m, 0, 0, fmt.Errorf("there is no resource %s whose objects are stored", m.Spec.Resource.String()), true, c.now())
		return reconcile.Result{}, c.status(ctx, m, stored)
	case begin:
		return reconcile.Result{}, c.begin(ctx, m, stored, kind)
	case write:
		return reconcile.Result{}, c.write(ctx, m, stored, kind)
	}
	return reconcile.Result{}, nil
}

func (c *Controller) now() metav1.Time { return metav1.NewTime(c.Clock.Now()) }

func (c *Controller) status(ctx context.Context, m, stored *migration) error {
	if equality.Semantic.DeepEqual(m.Status, stored.Status) {
		return nil
	}
	if err := c.Client.Status().Update(ctx, m); err != nil {
		return fmt.Errorf("report migration %s: %w", m.Name, err)
	}
	return nil
}

func (c *Controller) begin(ctx context.Context, m, stored *migration, kind schema.GroupVersionKind) error {
	if err := c.mark(ctx, m, true, false); err != nil {
		return err
	}
	list, err := c.list(ctx, kind)
	if err != nil {
		return err
	}
	report(m, 0, 0, nil, false, c.now())
	m.Status.ResourceVersion = list.ResourceVersion
	return c.status(ctx, m, stored)
}

func (c *Controller) list(ctx context.Context, kind schema.GroupVersionKind) (*metav1.PartialObjectMetadataList, error) {
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(kind.GroupVersion().WithKind(kind.Kind + "List"))
	if err := c.Client.List(ctx, list); err != nil {
		return nil, fmt.Errorf("list %s: %w", kind, err)
	}
	return list, nil
}

// write patches each object with nothing but its own version: the server writes it if it is stored in another form.
func (c *Controller) write(ctx context.Context, m, stored *migration, kind schema.GroupVersionKind) error {
	list, err := c.list(ctx, kind)
	if err != nil {
		return err
	}
	objects, err := former(list.Items, m.Status.ResourceVersion)
	for i := 0; i < len(objects) && err == nil; i++ {
		failure := c.rewrite(ctx, kind, objects[i])
		switch judge(failure) {
		case again:
			report(m, len(objects)-i, len(list.Items), failure, false, c.now())
			return errors.Join(failure, c.status(ctx, m, stored))
		case refused:
			report(m, len(objects)-i, len(list.Items), nil, false, c.now())
			err = fmt.Errorf("%d/%d not yet migrated: %w", len(objects)-i, len(list.Items), failure)
		}
	}
	if markErr := c.mark(ctx, m, false, err == nil); markErr != nil {
		return markErr
	}
	report(m, 0, len(list.Items), err, true, c.now())
	return c.status(ctx, m, stored)
}

func (c *Controller) rewrite(ctx context.Context, kind schema.GroupVersionKind, of *metav1.PartialObjectMetadata) error {
	body, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": of.UID, "resourceVersion": of.ResourceVersion}})
	if err != nil {
		return err
	}
	obj := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: of.Namespace, Name: of.Name}}
	obj.SetGroupVersionKind(kind)
	return c.Client.Patch(ctx, obj, client.RawPatch(types.MergePatchType, body))
}

// mark tells the definition of a defined kind; others have none.
func (c *Controller) mark(ctx context.Context, m *migration, running, success bool) error {
	d := &apiextensionsv1.CustomResourceDefinition{}
	name := types.NamespacedName{Name: m.Spec.Resource.Resource + "." + m.Spec.Resource.Group}
	if err := c.Client.Get(ctx, name, d); err != nil {
		if meta.IsNoMatchError(err) {
			return nil
		}
		return client.IgnoreNotFound(err)
	}
	d = d.DeepCopy()
	migrating(d, running, success, c.now())
	if err := c.Client.Status().Update(ctx, d); err != nil {
		return fmt.Errorf("mark definition %s: %w", d.Name, err)
	}
	return nil
}
