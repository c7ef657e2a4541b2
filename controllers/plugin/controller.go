// Package plugin sums up in each Plugin's status what the nodes report, and keeps a Plugin that is deleted until no
// node runs it any more.
package plugin

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/gantryio/gantry/core/api/plugins/v1alpha1"
	"github.com/gantryio/gantry/core/client/workers"
)

// inUse keeps a deleted Plugin until the nodes have let go of it.
const inUse = "plugins.gantry.dev/in-use"

// Controller reconciles Plugins.
type Controller struct {
	Client client.Client
}

var _ reconcile.Reconciler = (*Controller)(nil)

// SetupWithManager makes mgr run the controller.
func (c *Controller) SetupWithManager(mgr manager.Manager) error {
	return ctrl.ControllerManagedBy(mgr).Named("plugin").
		For(&v1alpha1.Plugin{}).
		Watches(&v1alpha1.NodePlugins{}, handler.EnqueueRequestsFromMapFunc(c.all)).
		Watches(&corev1.Node{}, handler.EnqueueRequestsFromMapFunc(c.all), ctrl.WithPredicates(changed)).
		WithOptions(workers.Options(1)).
		Complete(c)
}

// changed lets those changes of nodes pass that matter: their labels, and whether they are ready.
var changed = predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
	before, ok := e.ObjectOld.(*corev1.Node)
	now, ok2 := e.ObjectNew.(*corev1.Node)
	return !ok || !ok2 || ready(before) != ready(now) || !maps.Equal(before.Labels, now.Labels)
}}

// ready tells that a node does what it is told. One that has not said so yet is.
func ready(n *corev1.Node) bool {
	for i := range n.Status.Conditions {
		if c := &n.Status.Conditions[i]; c.Type == corev1.NodeReady {
			return c.Status != corev1.ConditionUnknown
		}
	}
	return true
}

// all are all Plugins: there are few.
func (c *Controller) all(ctx context.Context, _ client.Object) []reconcile.Request {
	var list v1alpha1.PluginList
	if err := c.Client.List(ctx, &list); err != nil {
		return nil
	}
	var out []reconcile.Request
	for i := range list.Items {
		out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
	}
	return out
}

// Reconcile implements reconcile.Reconciler.
func (c *Controller) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	p := &v1alpha1.Plugin{}
	if err := c.Client.Get(ctx, req.NamespacedName, p); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	nodes, err := c.nodes(ctx)
	if err != nil {
		return reconcile.Result{}, err
	}
	seen := aggregate(p, nodes)
	if done, err := c.finalize(ctx, p, seen); done || err != nil {
		return reconcile.Result{}, err
	}
	for _, name := range grant(p, nodes) {
		if err := c.grant(ctx, p, name); err != nil {
			return reconcile.Result{}, err
		}
	}
	if equality.Semantic.DeepEqual(p.Status, seen.status) {
		return reconcile.Result{}, nil
	}
	update := p.DeepCopy()
	update.Status = seen.status
	if err := c.Client.Status().Update(ctx, update); client.IgnoreNotFound(err) != nil {
		return reconcile.Result{}, fmt.Errorf("update status of plugin %s: %w", p.Name, err)
	}
	return reconcile.Result{}, nil
}

// grant lets a node change to the plugin's generation.
func (c *Controller) grant(ctx context.Context, p *v1alpha1.Plugin, node string) error {
	patch := fmt.Appendf(nil, `{"spec":{"generations":{%q:%d}}}`, p.Name, p.Generation)
	n := &v1alpha1.NodePlugins{ObjectMeta: metav1.ObjectMeta{Name: node}}
	if err := c.Client.Patch(ctx, n, client.RawPatch(types.MergePatchType, patch)); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("let node %s change plugin %s: %w", node, p.Name, err)
	}
	return nil
}

// finalize adds or removes the finalizer, and reports whether it did.
func (c *Controller) finalize(ctx context.Context, p *v1alpha1.Plugin, seen sum) (bool, error) {
	update := p.DeepCopy()
	var changed bool
	if p.DeletionTimestamp == nil {
		changed = controllerutil.AddFinalizer(update, inUse)
	} else if !seen.runs {
		changed = controllerutil.RemoveFinalizer(update, inUse)
	}
	if !changed {
		return false, nil
	}
	if err := c.Client.Update(ctx, update); client.IgnoreNotFound(err) != nil {
		return true, fmt.Errorf("change the finalizers of plugin %s: %w", p.Name, err)
	}
	return true, nil
}

func (c *Controller) nodes(ctx context.Context) ([]node, error) {
	var nodes corev1.NodeList
	if err := c.Client.List(ctx, &nodes); err != nil {
		return nil, fmt.Errorf("list nodes: %w", err)
	}
	var plugins v1alpha1.NodePluginsList
	if err := c.Client.List(ctx, &plugins); err != nil {
		return nil, fmt.Errorf("list the nodes' plugins: %w", err)
	}
	byName := map[string]*v1alpha1.NodePlugins{}
	for i := range plugins.Items {
		byName[plugins.Items[i].Name] = &plugins.Items[i]
	}
	out := make([]node, len(nodes.Items))
	for i := range nodes.Items {
		n := &nodes.Items[i]
		out[i] = node{name: n.Name, labels: n.Labels, away: !ready(n)}
		if here := byName[n.Name]; here != nil {
			out[i].plugins, out[i].granted = here.Status.Plugins, here.Spec.Generations
		}
	}
	slices.SortFunc(out, func(a, b node) int { return cmp.Compare(a.name, b.name) })
	return out, nil
}
