package resourcequota

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
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

// defined are the namespaced kinds that users define, and whose objects are counted while they do.
type defined struct {
	of      *Controller
	mgr     manager.Manager
	watches controller.Controller

	mu    sync.Mutex
	known map[string]definedKind // by the name of the definition
}

type definedKind struct {
	uid types.UID
	Kind
}

var _ reconcile.Reconciler = (*defined)(nil)

func (d *defined) setup(mgr manager.Manager, of *Controller, watches controller.Controller) error {
	d.of, d.mgr, d.watches, d.known = of, mgr, watches, map[string]definedKind{}
	return ctrl.ControllerManagedBy(mgr).Named("resourcequota-definitions").For(&apiextensionsv1.CustomResourceDefinition{}).
		WithOptions(workers.Options(1)).Complete(d)
}

// kinds are those that can be counted now.
func (d *defined) kinds() []Kind {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []Kind
	for _, k := range d.known {
		out = append(out, k.Kind)
	}
	return out
}

// Reconcile implements reconcile.Reconciler.
func (d *defined) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	crd := &apiextensionsv1.CustomResourceDefinition{}
	err := d.of.Client.Get(ctx, req.NamespacedName, crd)
	if client.IgnoreNotFound(err) != nil {
		return reconcile.Result{}, fmt.Errorf("get definition %s: %w", req.Name, err)
	}
	d.mu.Lock()
	have, known := d.known[req.Name]
	if known && (err != nil || have.uid != crd.UID) {
		delete(d.known, req.Name) // its watch has ended with it
		known = false
	}
	d.mu.Unlock()
	if err != nil || known || !apiextensions.Established(crd) || crd.Spec.Scope != apiextensionsv1.NamespaceScoped {
		return reconcile.Result{}, nil
	}
	k := Kind{
		GroupVersionKind: schema.GroupVersionKind{Group: crd.Spec.Group, Version: served(crd), Kind: crd.Spec.Names.Kind},
		Plural:           crd.Spec.Names.Plural,
	}
	if k.Version == "" {
		return reconcile.Result{}, nil
	}
	if err := d.watch(ctx, k); meta.IsNoMatchError(err) {
		return reconcile.Result{RequeueAfter: notServed}, nil
	} else if err != nil {
		return reconcile.Result{}, fmt.Errorf("watch %s: %w", k.Plural, err)
	}
	d.mu.Lock()
	d.known[req.Name] = definedKind{crd.UID, k}
	d.mu.Unlock()
	return reconcile.Result{}, d.countAgain(k)
}

// watch makes quotas be counted when objects of the kind go.
func (d *defined) watch(ctx context.Context, k Kind) error {
	obj := client.Object(metadata(k.GroupVersionKind))
	if _, err := d.mgr.GetCache().GetInformer(ctx, obj); err != nil {
		return err // tells whether the kind is known
	}
	return d.watches.Watch(source.Kind(d.mgr.GetCache(), obj, d.of.events(k.resource())))
}

// countAgain looks at all quotas that count the kind: there may be objects already.
func (d *defined) countAgain(k Kind) error {
	return d.watches.Watch(source.Func(func(ctx context.Context, q requests) error {
		var list corev1.ResourceQuotaList
		if err := d.of.Client.List(ctx, &list); err != nil {
			return fmt.Errorf("list quotas: %w", err)
		}
		for i := range list.Items {
			if counts(&list.Items[i], k.resource()) {
				q.Add(reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
			}
		}
		return nil
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
