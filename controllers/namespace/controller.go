// Package namespace empties namespaces that are being deleted. The API server keeps such a namespace,
// refusing new objects in it, until this controller has taken the finalizer "kubernetes" away, which it
// does once a list of every kind shows nothing.
package namespace

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
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

	"github.com/gantryio/gantry/core/client/clock"
	"github.com/gantryio/gantry/core/client/source"
	"github.com/gantryio/gantry/core/client/workers"
)

const (
	// audit is how often a namespace with content is looked at without an event.
	audit = 15 * time.Second
	// parallel is how many objects of a namespace are deleted at a time.
	parallel = 32
)

// Controller reconciles Namespaces.
type Controller struct {
	Client client.Client
	// Kinds are all namespaced kinds that the server has of its own; Defined, if not nil, tells those that users have defined.
	Kinds   []schema.GroupVersionKind
	Defined func() []schema.GroupVersionKind
	// Elsewhere, if not nil, tells the namespaced kinds of other API servers that can be listed and deleted, and why of some
	// servers nothing is known: while that is so, no namespace is empty.
	Elsewhere func(ctx context.Context) ([]schema.GroupVersionKind, error)
	Clock     clock.Clock

	mu sync.Mutex
	// ending are the namespaces that wait for their content to go.
	ending map[string]bool
}

var _ reconcile.Reconciler = (*Controller)(nil)

// SetupWithManager makes mgr run the controller.
func (c *Controller) SetupWithManager(mgr manager.Manager) error {
	b := ctrl.ControllerManagedBy(mgr).Named("namespace").
		For(&corev1.Namespace{}).
		WithOptions(workers.Options(4))
	for _, gvk := range c.Kinds {
		b = b.WatchesRawSource(source.Of(mgr.GetCache(), metadata(gvk), c.contentEvents))
	}
	return b.Complete(c)
}

// metadata is an object of the kind without its content: all that is read here.
func metadata(gvk schema.GroupVersionKind) *metav1.PartialObjectMetadata {
	m := &metav1.PartialObjectMetadata{}
	m.SetGroupVersionKind(gvk)
	return m
}

// contentEvents queues a namespace that ends when something in it is gone.
func (c *Controller) contentEvents(_ context.Context, old, now client.Object, q source.Queue[reconcile.Request]) {
	if now != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ending[old.GetNamespace()] {
		q.Add(reconcile.Request{NamespacedName: types.NamespacedName{Name: old.GetNamespace()}})
	}
}

// note remembers whether the namespace waits for its content to go.
func (c *Controller) note(name string, ends bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ending == nil {
		c.ending = map[string]bool{}
	}
	if ends {
		c.ending[name] = true
	} else {
		delete(c.ending, name)
	}
}

// Reconcile implements reconcile.Reconciler.
func (c *Controller) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	ns := &corev1.Namespace{}
	if err := c.Client.Get(ctx, req.NamespacedName, ns); err != nil {
		c.note(req.Name, false)
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if ns.DeletionTimestamp == nil || !slices.Contains(ns.Spec.Finalizers, corev1.FinalizerKubernetes) {
		return reconcile.Result{}, nil
	}
	c.note(req.Name, true) // before the lists: what goes after them brings us back
	var others []schema.GroupVersionKind
	var undiscovered error
	if c.Elsewhere != nil {
		others, undiscovered = c.Elsewhere(ctx)
	}
	left, failed := c.empty(ctx, ns.Name, others)
	if undiscovered == nil && failed == nil && len(left) == 0 {
		return reconcile.Result{}, ignoreRace(c.finalize(ctx, ns))
	}
	return reconcile.Result{RequeueAfter: audit}, errors.Join(failed, ignoreRace(c.report(ctx, ns, outcome{left, undiscovered, failed})))
}

// ignoreRace drops errors that mean that somebody else wrote or finished: an event follows.
func ignoreRace(err error) error {
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// empty deletes what is not being deleted yet and returns what is still there afterwards. Pods go first: as long as there are
// some, nothing else is taken away that they may rely on, such as a network policy (KEP-5080). Others are kinds of other servers.
func (c *Controller) empty(ctx context.Context, namespace string, others []schema.GroupVersionKind) ([]remains, error) {
	pods := corev1.SchemeGroupVersion.WithKind("Pod")
	left, err := c.emptyOf(ctx, namespace, []schema.GroupVersionKind{pods})
	if err != nil || len(left) > 0 {
		return left, err
	}
	return c.emptyOf(ctx, namespace, slices.Concat(c.all(), others))
}

func (c *Controller) emptyOf(ctx context.Context, namespace string, kinds []schema.GroupVersionKind) ([]remains, error) {
	var left []remains
	var failed []error
	for _, gvk := range kinds {
		items, err := c.list(ctx, gvk, namespace)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		if len(items) == 0 {
			continue
		}
		failed = append(failed, c.deleteAll(ctx, gvk, items))
		if items, err = c.list(ctx, gvk, namespace); err != nil {
			failed = append(failed, err)
		}
		if len(items) > 0 {
			left = append(left, remainsOf(c.resource(gvk), items))
		}
	}
	return left, errors.Join(failed...)
}

func (c *Controller) all() []schema.GroupVersionKind {
	if c.Defined == nil {
		return c.Kinds
	}
	return slices.Concat(c.Kinds, c.Defined())
}

func (c *Controller) list(ctx context.Context, gvk schema.GroupVersionKind, namespace string) ([]metav1.PartialObjectMetadata, error) {
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(gvk.GroupVersion().WithKind(gvk.Kind + "List"))
	if err := c.Client.List(ctx, list, client.InNamespace(namespace)); err != nil && !meta.IsNoMatchError(err) {
		return nil, fmt.Errorf("list %s in %s: %w", gvk.Kind, namespace, err)
	}
	return list.Items, nil
}

func (c *Controller) deleteAll(ctx context.Context, gvk schema.GroupVersionKind, items []metav1.PartialObjectMetadata) error {
	var mu sync.Mutex
	var failed []error
	var wg sync.WaitGroup
	slots := make(chan struct{}, parallel)
	for i := range items {
		if items[i].DeletionTimestamp != nil {
			continue
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			obj := metadata(gvk)
			obj.Namespace, obj.Name = items[i].Namespace, items[i].Name
			err := c.Client.Delete(ctx, obj, client.PropagationPolicy(metav1.DeletePropagationBackground))
			if ignoreRace(err) == nil {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			failed = append(failed, fmt.Errorf("delete %s %s/%s: %w", gvk.Kind, obj.Namespace, obj.Name, err))
		})
	}
	wg.Wait()
	return errors.Join(failed...)
}

// resource is the plural name of a kind, as people know it.
func (c *Controller) resource(gvk schema.GroupVersionKind) string {
	if m, err := c.Client.RESTMapper().RESTMapping(gvk.GroupKind(), gvk.Version); err == nil {
		return m.Resource.GroupResource().String()
	}
	plural, _ := meta.UnsafeGuessKindToResource(gvk)
	return plural.GroupResource().String()
}

func (c *Controller) report(ctx context.Context, ns *corev1.Namespace, o outcome) error {
	update := ns.DeepCopy()
	if !setConditions(&update.Status, o, c.Clock.Now()) {
		return nil
	}
	if err := c.Client.Status().Update(ctx, update); err != nil {
		return fmt.Errorf("update status of namespace %s: %w", ns.Name, err)
	}
	return nil
}

func (c *Controller) finalize(ctx context.Context, ns *corev1.Namespace) error {
	update := ns.DeepCopy()
	update.Spec.Finalizers = slices.DeleteFunc(update.Spec.Finalizers, func(f corev1.FinalizerName) bool { return f == corev1.FinalizerKubernetes })
	if err := c.Client.SubResource("finalize").Update(ctx, update); err != nil {
		return fmt.Errorf("finalize namespace %s: %w", ns.Name, err)
	}
	return nil
}
