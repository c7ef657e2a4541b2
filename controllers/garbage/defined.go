package garbage

import (
	"context"
	"fmt"
	"sync"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/gantryio/gantry/core/api/apiextensions"
	"github.com/gantryio/gantry/core/client/workers"
)

// notServed is how soon a kind is looked for again whose definition is established and which is not known here yet.
const notServed = 20 * time.Millisecond

// defined makes the controller watch the kinds that users define, while they do.
type defined struct {
	of      *Controller
	mgr     manager.Manager
	watches controller.TypedController[item]

	mu      sync.Mutex
	watched map[string]watched // by the name of the definition
}

type watched struct {
	uid types.UID
	gvk schema.GroupVersionKind
}

var _ reconcile.Reconciler = (*defined)(nil)

func (d *defined) setup(mgr manager.Manager, of *Controller, watches controller.TypedController[item]) error {
	d.of, d.mgr, d.watches, d.watched = of, mgr, watches, map[string]watched{}
	return ctrl.ControllerManagedBy(mgr).Named("garbage-definitions").For(&apiextensionsv1.CustomResourceDefinition{}).
		WithOptions(workers.Options(1)).Complete(d)
}

// kinds are those that are watched and can be looked up by owner.
func (d *defined) kinds() []schema.GroupVersionKind {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []schema.GroupVersionKind
	for _, w := range d.watched {
		out = append(out, w.gvk)
	}
	return out
}

// Reconcile implements reconcile.Reconciler.
func (d *defined) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	crd := &apiextensionsv1.CustomResourceDefinition{}
	err := d.of.Client.Get(ctx, req.NamespacedName, crd)
	if client.IgnoreNotFound(err) != nil {
		return reconcile.Result{}, err
	}
	d.mu.Lock()
	have, known := d.watched[req.Name]
	if known && (err != nil || have.uid != crd.UID) {
		delete(d.watched, req.Name) // its watch has ended with it
		known = false
	}
	d.mu.Unlock()
	if err != nil || known || !apiextensions.Established(crd) {
		return reconcile.Result{}, nil
	}
	gvk := schema.GroupVersionKind{Group: crd.Spec.Group, Version: served(crd), Kind: crd.Spec.Names.Kind}
	if gvk.Version == "" {
		return reconcile.Result{}, nil
	}
	obj := metadata(gvk)
	if err := index(ctx, d.mgr.GetFieldIndexer(), obj); err != nil {
		if meta.IsNoMatchError(err) {
			return reconcile.Result{RequeueAfter: notServed}, nil
		}
		return reconcile.Result{}, err
	}
	d.mu.Lock()
	d.watched[req.Name] = watched{crd.UID, gvk}
	d.mu.Unlock()
	if err := d.watch(ctx, gvk, obj); err != nil {
		return reconcile.Result{}, fmt.Errorf("watch %s: %w", gvk.Kind, err)
	}
	return reconcile.Result{}, nil
}

// watch begins to watch a kind. Owners of it may have gone before, so that all that they own is looked at once.
func (d *defined) watch(ctx context.Context, gvk schema.GroupVersionKind, obj client.Object) error {
	objects := source.TypedKind[client.Object, item](d.mgr.GetCache(), obj, d.of.events(gvk))
	if err := d.watches.Watch(objects); err != nil {
		return err
	}
	if err := objects.WaitForSync(ctx); err != nil {
		return err
	}
	return d.watches.Watch(source.TypedFunc[item](func(ctx context.Context, q workqueue.TypedRateLimitingInterface[item]) error {
		dependents, err := d.of.find(ctx, d.of.cached, client.MatchingFields{byOwnerKind: gvk.GroupKind().String()})
		for _, it := range dependents {
			q.Add(it.item)
		}
		return err
	}))
}

// served is the version that is stored if it is served, or else another one that is.
func served(crd *apiextensionsv1.CustomResourceDefinition) string {
	out := ""
	for i := range crd.Spec.Versions {
		if v := &crd.Spec.Versions[i]; v.Served && (out == "" || v.Storage) {
			out = v.Name
		}
	}
	return out
}
