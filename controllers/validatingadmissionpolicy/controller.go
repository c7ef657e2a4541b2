// Package validatingadmissionpolicy checks the types in the expressions of ValidatingAdmissionPolicies against the schemas of what
// they apply to, and writes what is suspicious into their status. Policies are evaluated whatever it says.
package validatingadmissionpolicy

import (
	"context"
	"fmt"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiserver/pkg/admission/plugin/policy/validating"
	ctrl "sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/gantryio/gantry/core/client/workers"
)

// Controller reconciles ValidatingAdmissionPolicies.
type Controller struct{ Client client.Client }

var _ reconcile.Reconciler = (*Controller)(nil)

// SetupWithManager makes mgr run the controller.
func (c *Controller) SetupWithManager(mgr manager.Manager) error {
	return ctrl.ControllerManagedBy(mgr).Named("validatingadmissionpolicy-status").
		For(&admissionv1.ValidatingAdmissionPolicy{}).
		WithOptions(workers.Options(1)).
		Complete(c)
}

// Reconcile implements reconcile.Reconciler. A policy is checked once for each of its generations, as in Kubernetes.
func (c *Controller) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	policy := &admissionv1.ValidatingAdmissionPolicy{}
	if err := c.Client.Get(ctx, req.NamespacedName, policy); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if policy.DeletionTimestamp != nil || policy.Generation <= policy.Status.ObservedGeneration {
		return reconcile.Result{}, nil
	}
	var definitions apiextensionsv1.CustomResourceDefinitionList
	if err := c.Client.List(ctx, &definitions); err != nil {
		return reconcile.Result{}, fmt.Errorf("list definitions: %w", err)
	}
	checker := validating.TypeChecker{SchemaResolver: schemas(definitions.Items), RestMapper: c.Client.RESTMapper()}
	update := policy.DeepCopy()
	update.Status.ObservedGeneration = policy.Generation
	update.Status.TypeChecking = &admissionv1.TypeChecking{ExpressionWarnings: checker.Check(policy)}
	if err := c.Client.Status().Update(ctx, update); client.IgnoreNotFound(err) != nil {
		return reconcile.Result{}, fmt.Errorf("update the status of policy %s: %w", policy.Name, err)
	}
	return reconcile.Result{}, nil
}
