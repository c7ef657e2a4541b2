// Package certificatesigning approves the certificate signing requests of nodes that may make them, signs what is approved for
// Kubernetes' own signers, and deletes requests that nobody needs any more.
package certificatesigning

import (
	"context"
	"crypto/x509"
	"fmt"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/gantryio/gantry/core/api/certificates"
	"github.com/gantryio/gantry/core/client/clock"
	"github.com/gantryio/gantry/core/client/workers"
)

// Controller reconciles CertificateSigningRequests.
type Controller struct {
	// Client must be allowed to approve and to sign for all of Kubernetes' signers.
	Client client.Client
	Clock  clock.Clock
	// Sign issues a certificate, in PEM, with the subject and the names of the request, for some usages and some time.
	Sign func(csr *x509.CertificateRequest, usages []certificatesv1.KeyUsage, life time.Duration) ([]byte, error)
}

var _ reconcile.Reconciler = (*Controller)(nil)

// SetupWithManager makes mgr run the controller.
func (c *Controller) SetupWithManager(mgr manager.Manager) error {
	return ctrl.ControllerManagedBy(mgr).Named("certificatesigning").For(&request{}).WithOptions(workers.Options(1)).Complete(c)
}

// Reconcile implements reconcile.Reconciler.
func (c *Controller) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	r := &request{}
	if err := c.Client.Get(ctx, req.NamespacedName, r); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	r = r.DeepCopy()
	s := plan(r, c.Clock.Now())
	if err := c.act(ctx, r, s); apierrors.IsConflict(err) {
		return reconcile.Result{RequeueAfter: time.Millisecond}, nil
	} else if client.IgnoreNotFound(err) != nil {
		return reconcile.Result{}, err
	}
	return reconcile.Result{RequeueAfter: s.wait}, nil
}

func (c *Controller) act(ctx context.Context, r *request, s step) error {
	switch {
	case s.remove:
		if err := c.Client.Delete(ctx, r, client.Preconditions{UID: &r.UID}); err != nil {
			return fmt.Errorf("delete certificate request %s: %w", r.Name, err)
		}
	case s.fail != nil:
		r.Status.Conditions = append(r.Status.Conditions, certificatesv1.CertificateSigningRequestCondition{
			Type: certificatesv1.CertificateFailed, Status: corev1.ConditionTrue, Reason: "SignerValidationFailure",
			Message: s.fail.Error(), LastUpdateTime: metav1.NewTime(c.Clock.Now()).Rfc3339Copy(),
		})
		return c.report(ctx, r)
	case s.sign:
		return c.issue(ctx, r)
	case len(s.review) > 0:
		return c.review(ctx, r, s.review)
	}
	return nil
}

func (c *Controller) report(ctx context.Context, r *request) error {
	if err := c.Client.Status().Update(ctx, r); err != nil {
		return fmt.Errorf("update status of certificate request %s: %w", r.Name, err)
	}
	return nil
}

func (c *Controller) issue(ctx context.Context, r *request) error {
	csr, err := certificates.Parse(r)
	if err == nil {
		r.Status.Certificate, err = c.Sign(csr, r.Spec.Usages, life(r))
	}
	if err != nil {
		return fmt.Errorf("sign certificate request %s: %w", r.Name, err)
	}
	return c.report(ctx, r)
}

// review approves a node's request when whoever made it has one of the permissions.
func (c *Controller) review(ctx context.Context, r *request, permissions []string) error {
	for _, p := range permissions {
		review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
			User: r.Spec.Username, UID: r.Spec.UID, Groups: r.Spec.Groups, Extra: map[string]authorizationv1.ExtraValue{},
			ResourceAttributes: &authorizationv1.ResourceAttributes{
				Group: certificatesv1.GroupName, Version: "*", Resource: "certificatesigningrequests", Subresource: p, Verb: "create",
			},
		}}
		for key, values := range r.Spec.Extra {
			review.Spec.Extra[key] = authorizationv1.ExtraValue(values)
		}
		if err := c.Client.Create(ctx, review); err != nil {
			return fmt.Errorf("review certificate request %s: %w", r.Name, err)
		}
		if !review.Status.Allowed {
			continue
		}
		message := "Auto approving kubelet client certificate after SubjectAccessReview."
		if p == "selfnodeclient" {
			message = "Auto approving self kubelet client certificate after SubjectAccessReview."
		}
		r.Status.Conditions = append(r.Status.Conditions, certificatesv1.CertificateSigningRequestCondition{
			Type: certificatesv1.CertificateApproved, Status: corev1.ConditionTrue, Reason: "AutoApproved", Message: message,
		})
		if err := c.Client.SubResource("approval").Update(ctx, r); err != nil {
			return fmt.Errorf("approve certificate request %s: %w", r.Name, err)
		}
		return nil
	}
	return nil
}
