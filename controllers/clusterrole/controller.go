// Package clusterrole fills the rules of ClusterRoles that are made of others.
package clusterrole

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	ctrl "sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/gantryio/gantry/core/client/workers"
)

// Controller reconciles ClusterRoles with an aggregation rule.
type Controller struct {
	// Client must be allowed to give away anything.
	Client client.Client
}

var _ reconcile.Reconciler = (*Controller)(nil)

// SetupWithManager makes mgr run the controller.
func (c *Controller) SetupWithManager(mgr manager.Manager) error {
	return ctrl.ControllerManagedBy(mgr).Named("clusterrole-aggregation").
		For(&rbacv1.ClusterRole{}).
		Watches(&rbacv1.ClusterRole{}, handler.EnqueueRequestsFromMapFunc(c.wholes)).
		WithOptions(workers.Options(1)).
		Complete(c)
}

// wholes are the roles that any change of a role may concern.
func (c *Controller) wholes(ctx context.Context, _ client.Object) []reconcile.Request {
	var list rbacv1.ClusterRoleList
	if err := c.Client.List(ctx, &list); err != nil {
		return nil
	}
	var out []reconcile.Request
	for i := range list.Items {
		if list.Items[i].AggregationRule != nil {
			out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
		}
	}
	return out
}

// Reconcile implements reconcile.Reconciler.
func (c *Controller) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	role := &rbacv1.ClusterRole{}
	if err := c.Client.Get(ctx, req.NamespacedName, role); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if role.AggregationRule == nil || role.DeletionTimestamp != nil {
		return reconcile.Result{}, nil
	}
	var list rbacv1.ClusterRoleList
	if err := c.Client.List(ctx, &list); err != nil {
		return reconcile.Result{}, fmt.Errorf("list cluster roles: %w", err)
	}
	rules, err := aggregate(role, list.Items)
	if err != nil {
		return reconcile.Result{}, reconcile.TerminalError(err)
	}
	if equality.Semantic.DeepEqual(role.Rules, rules) {
		return reconcile.Result{}, nil
	}
	update := role.DeepCopy()
	update.Rules = rules
	if err := c.Client.Update(ctx, update); client.IgnoreNotFound(err) != nil {
		return reconcile.Result{}, fmt.Errorf("update cluster role %s: %w", role.Name, err)
	}
	return reconcile.Result{}, nil
}

// aggregate joins the rules of the roles that each selector picks, in order of selectors and of names, each rule once.
func aggregate(whole *rbacv1.ClusterRole, all []rbacv1.ClusterRole) ([]rbacv1.PolicyRule, error) {
	var out []rbacv1.PolicyRule
	for i := range whole.AggregationRule.ClusterRoleSelectors {
		selector, err := metav1.LabelSelectorAsSelector(&whole.AggregationRule.ClusterRoleSelectors[i])
		if err != nil {
			return nil, fmt.Errorf("read the selectors of cluster role %s: %w", whole.Name, err)
		}
		var parts []*rbacv1.ClusterRole
		for j := range all {
			if r := &all[j]; r.Name != whole.Name && selector.Matches(labels.Set(r.Labels)) {
				parts = append(parts, r)
			}
		}
		slices.SortFunc(parts, func(a, b *rbacv1.ClusterRole) int { return cmp.Compare(a.Name, b.Name) })
		for _, p := range parts {
			for _, rule := range p.Rules {
				if !slices.ContainsFunc(out, func(have rbacv1.PolicyRule) bool { return equality.Semantic.DeepEqual(have, rule) }) {
					out = append(out, rule)
				}
			}
		}
	}
	return out, nil
}
