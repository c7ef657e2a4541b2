// Package defined tells controllers of the kinds that users define, while they do.
package defined

import (
	"context"
	"fmt"
	"sync"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/gantryio/gantry/core/api/apiextensions"
	"github.com/gantryio/gantry/core/client/workers"
)

// notServed is how soon a kind is looked for again whose definition is established and which is not known here yet.
const notServed = 20 * time.Millisecond

// Kind is a kind that users define, in a version that is served.
type Kind struct {
	schema.GroupVersionKind
	Plural     string
	Namespaced bool
}

// Kinds follows the CustomResourceDefinitions. Its methods may be called at any time and from anywhere.
type Kinds struct {
	Client client.Reader
	// Watch is called for a kind before it is among All, and again when it failed; an error of [meta.NoKindMatchError]
	// means that it is not known here yet. What it watches ends with the definition.
	Watch func(ctx context.Context, k Kind) error
	// Added is called once a kind is among All; when it fails the kind leaves again and all is repeated.
	Added func(ctx context.Context, k Kind) error

	mu    sync.Mutex
	known map[string]known // by the name of the definition
}

type known struct {
	uid types.UID
	Kind
}

var _ reconcile.Reconciler = (*Kinds)(nil)

// SetupWithManager makes mgr follow the definitions, by a controller of the name given.
func (ks *Kinds) SetupWithManager(mgr manager.Manager, name string) error {
	return ctrl.ControllerManagedBy(mgr).Named(name).For(&apiextensionsv1.CustomResourceDefinition{}).
		WithOptions(workers.Options(1)).Complete(ks)
}

// All are the kinds that are served and watched, in no order.
func (ks *Kinds) All() []Kind {
	ks.mu.Lock()
	defer ks.mu.Unlock()
	out := make([]Kind, 0, len(ks.known))
	for _, k := range ks.known {
		out = append(out, k.Kind)
	}
	return out
}

// Reconcile implements reconcile.Reconciler.
func (ks *Kinds) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	crd := &apiextensionsv1.CustomResourceDefinition{}
	err := ks.Client.Get(ctx, req.NamespacedName, crd)
	if client.IgnoreNotFound(err) != nil {
		return reconcile.Result{}, fmt.Errorf("get definition %s: %w", req.Name, err)
	}
	if err != nil || !ks.knows(req.Name, crd.UID) {
		ks.set(req.Name, nil) // its watch has ended with it
	} else {
		return reconcile.Result{}, nil
	}
	if err != nil || !apiextensions.Established(crd) {
		return reconcile.Result{}, nil
	}
	k := Kind{
		GroupVersionKind: schema.GroupVersionKind{Group: crd.Spec.Group, Version: apiextensions.ServedVersion(crd), Kind: crd.Spec.Names.Kind},
		Plural:           crd.Spec.Names.Plural, Namespaced: crd.Spec.Scope == apiextensionsv1.NamespaceScoped,
	}
	if k.Version == "" {
		return reconcile.Result{}, nil
	}
	if err := ks.Watch(ctx, k); meta.IsNoMatchError(err) {
		return reconcile.Result{RequeueAfter: notServed}, nil
	} else if err != nil {
		return reconcile.Result{}, fmt.Errorf("watch %s: %w", k.Plural, err)
	}
	ks.set(req.Name, &known{crd.UID, k})
	if err := ks.Added(ctx, k); err != nil {
		ks.set(req.Name, nil)
		return reconcile.Result{}, fmt.Errorf("begin with %s: %w", k.Plural, err)
	}
	return reconcile.Result{}, nil
}

func (ks *Kinds) knows(name string, uid types.UID) bool {
	ks.mu.Lock()
	defer ks.mu.Unlock()
	have, ok := ks.known[name]
	return ok && have.uid == uid
}

// set makes k what is known by a definition's name, nil for nothing.
func (ks *Kinds) set(name string, k *known) {
	ks.mu.Lock()
	defer ks.mu.Unlock()
	if k == nil {
		delete(ks.known, name)
		return
	}
	if ks.known == nil {
		ks.known = map[string]known{}
	}
	ks.known[name] = *k
}
