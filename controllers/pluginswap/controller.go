// Package pluginswap moves nodes from one plugin to another. All that it knows stands in the PluginSwap's status, so
// that it goes on after any interruption: the default of a node changes first, then the pods that depend on the old
// plugin are evicted, of each workload as many at a time as its own strategy lets be missing.
package pluginswap

import (
	"context"
	"errors"
	"fmt"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/record"
	ctrl "sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/gantryio/gantry/core/api/plugins/v1alpha1"
	"github.com/gantryio/gantry/core/client/clock"
	"github.com/gantryio/gantry/core/client/owner"
	"github.com/gantryio/gantry/core/client/source"
	"github.com/gantryio/gantry/core/client/workers"
)

// Controller reconciles PluginSwaps.
type Controller struct {
	Client   client.Client
	Recorder record.EventRecorder
	Clock    clock.Clock
}

var _ reconcile.Reconciler = (*Controller)(nil)

// SetupWithManager makes mgr run the controller.
func (c *Controller) SetupWithManager(mgr manager.Manager) error {
	for _, obj := range []client.Object{&corev1.Pod{}, &appsv1.ReplicaSet{}} {
		if err := owner.Index(context.Background(), mgr.GetFieldIndexer(), obj); err != nil {
			return err
		}
	}
	running := owner.EnqueueAny(c.running)
	return ctrl.ControllerManagedBy(mgr).Named("pluginswap").
		For(&v1alpha1.PluginSwap{}).
		WatchesRawSource(source.Of(mgr.GetCache(), &v1alpha1.NodePlugins{}, running)).
		WatchesRawSource(source.Of(mgr.GetCache(), &corev1.Pod{}, running)).
		WatchesRawSource(source.Of(mgr.GetCache(), &policyv1.PodDisruptionBudget{}, running)).
		WatchesRawSource(source.Of(mgr.GetCache(), &v1alpha1.PluginSwap{}, running)). // Those that wait for another one.
		WithOptions(workers.Options(1)).
		Complete(c)
}

// running finds the swaps that are not over.
func (c *Controller) running(ctx context.Context, _ client.Object) []reconcile.Request {
	var list v1alpha1.PluginSwapList
	if !owner.Find(ctx, c.Client, &list, "") {
		return nil
	}
	var out []reconcile.Request
	for i := range list.Items {
		if !finished(list.Items[i].Status.Phase) {
			out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
		}
	}
	return out
}

// Reconcile implements reconcile.Reconciler.
func (c *Controller) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	swap := &v1alpha1.PluginSwap{}
	if err := c.Client.Get(ctx, req.NamespacedName, swap); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if finished(swap.Status.Phase) || swap.DeletionTimestamp != nil {
		return reconcile.Result{}, nil
	}
	if other, err := c.ahead(ctx, swap); err != nil || other != "" {
		return reconcile.Result{RequeueAfter: audit}, errors.Join(err, c.wait(ctx, swap, other))
	}
	w, err := c.observe(ctx, swap)
	if err != nil {
		return reconcile.Result{}, err
	}
	p := decide(swap, w)
	if !sameSteps(swap.Status, p.status) {
		if err := c.report(ctx, swap, p.status); err != nil {
			return reconcile.Result{}, err
		}
	}
	err = c.act(ctx, swap, w, &p)
	return reconcile.Result{RequeueAfter: p.wait}, errors.Join(err, c.report(ctx, swap, p.status))
}

// sameSteps tells that two states of a swap differ in nothing that whoever goes on has to know: not in phases, and not in
// what there is to go back to.
func sameSteps(a, b v1alpha1.PluginSwapStatus) bool {
	steps := func(s v1alpha1.PluginSwapStatus) v1alpha1.PluginSwapStatus {
		s = *s.DeepCopy()
		for i := range s.Nodes {
			n := &s.Nodes[i]
			n.Message, n.Remaining, n.Left, n.ProgressTime = "", 0, nil, nil
		}
		return s
	}
	return equality.Semantic.DeepEqual(steps(a), steps(b))
}

// ahead names a swap of the same type that is under way and older: two at once would undo each other.
func (c *Controller) ahead(ctx context.Context, swap *v1alpha1.PluginSwap) (string, error) {
	var list v1alpha1.PluginSwapList
	if err := c.Client.List(ctx, &list); err != nil {
		return "", fmt.Errorf("list plugin swaps: %w", err)
	}
	for i := range list.Items {
		o := &list.Items[i]
		if o.UID == swap.UID || o.Spec.Type != swap.Spec.Type || finished(o.Status.Phase) {
			continue
		}
		if o.CreationTimestamp.Before(&swap.CreationTimestamp) || o.CreationTimestamp.Equal(&swap.CreationTimestamp) && o.Name < swap.Name {
			return o.Name, nil
		}
	}
	return "", nil
}

func (c *Controller) wait(ctx context.Context, swap *v1alpha1.PluginSwap, other string) error {
	if other == "" {
		return nil
	}
	status := swap.Status
	status.Phase, status.Message = v1alpha1.SwapPending, "waits for swap "+other
	return c.report(ctx, swap, status)
}

// report writes the status, and events of what a person waits for.
func (c *Controller) report(ctx context.Context, swap *v1alpha1.PluginSwap, status v1alpha1.PluginSwapStatus) error {
	if equality.Semantic.DeepEqual(swap.Status, status) {
		return nil
	}
	update := swap.DeepCopy()
	update.Status = status
	if err := c.Client.Status().Update(ctx, update); err != nil {
		return fmt.Errorf("update status of plugin swap %s: %w", swap.Name, err)
	}
	before := swap.Status.Phase
	swap.ResourceVersion, swap.Status = update.ResourceVersion, status
	if status.Phase == before {
		return nil
	}
	switch status.Phase {
	case v1alpha1.SwapMoving:
		c.Recorder.Eventf(swap, corev1.EventTypeNormal, "SwapStarted", "Moving %d nodes from %s to %s", len(status.Nodes), swap.Spec.From, swap.Spec.To)
	case v1alpha1.SwapSucceeded:
		c.Recorder.Eventf(swap, corev1.EventTypeNormal, "SwapSucceeded", "All nodes have moved from %s to %s", swap.Spec.From, swap.Spec.To)
	case v1alpha1.SwapRollingBack:
		c.Recorder.Eventf(swap, corev1.EventTypeWarning, "SwapRollingBack", "Moving back to %s: %s", swap.Spec.From, status.Message)
	case v1alpha1.SwapRolledBack:
		c.Recorder.Eventf(swap, corev1.EventTypeNormal, "SwapRolledBack", "All nodes are back at %s", swap.Spec.From)
	case v1alpha1.SwapFailed:
		c.Recorder.Event(swap, corev1.EventTypeWarning, "SwapFailed", status.Message)
	case v1alpha1.SwapPending:
	}
	return nil
}

// act does what was planned. What disruption budgets do not allow is noted in the plan's status.
func (c *Controller) act(ctx context.Context, swap *v1alpha1.PluginSwap, w world, p *plan) error {
	var errs []error
	for name, value := range p.defaults {
		errs = append(errs, c.setDefault(ctx, w.nodes[name].plugins, swap.Spec.Type, value))
	}
	held := map[string][]string{}
	for _, pod := range p.evict {
		err := c.Client.SubResource("eviction").Create(ctx, pod, &policyv1.Eviction{
			ObjectMeta:    metav1.ObjectMeta{Name: pod.Name, Namespace: pod.Namespace},
			DeleteOptions: &metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(pod.UID))},
		})
		switch {
		case apierrors.IsTooManyRequests(err):
			held[pod.Spec.NodeName] = append(held[pod.Spec.NodeName], pod.Namespace+"/"+pod.Name)
		case client.IgnoreNotFound(err) != nil && !apierrors.IsConflict(err):
			errs = append(errs, fmt.Errorf("evict %s/%s: %w", pod.Namespace, pod.Name, err))
		}
	}
	for i := range p.status.Nodes {
		if n := &p.status.Nodes[i]; len(held[n.Name]) > 0 { // which is no failure of the new plugin
			n.Message = "disruption budgets hold " + strings.Join(held[n.Name], ", ")
			excuse(swap, n, w.now)
		}
	}
	return errors.Join(errs...)
}

func (c *Controller) setDefault(ctx context.Context, n *v1alpha1.NodePlugins, t v1alpha1.Type, name string) error {
	update := n.DeepCopy()
	if name == "" {
		delete(update.Spec.Defaults, t)
	} else {
		if update.Spec.Defaults == nil {
			update.Spec.Defaults = map[v1alpha1.Type]string{}
		}
		update.Spec.Defaults[t] = name
	}
	if err := c.Client.Update(ctx, update); err != nil {
		return fmt.Errorf("set the default %s of node %s: %w", t, n.Name, err)
	}
	return nil
}
