package admission

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/api/certificates"
)

// CertificateRequests writes into certificate signing requests who makes them, and lets them be approved and signed only by
// those who may do so for the signer: the verbs "approve" and "sign" on "signers". So it does with PodCertificateRequests, and
// with the verb "attest" for ClusterTrustBundles. It is Kubernetes' CertificateApproval, CertificateSigning,
// CertificateSubjectRestriction and ClusterTrustBundleAttest.
type CertificateRequests struct {
	May authorizer.UnconditionalAuthorizer
}

var (
	_ Mutator   = CertificateRequests{}
	_ Validator = CertificateRequests{}
)

// Name implements [Plugin].
func (CertificateRequests) Name() string { return "CertificateApproval" }

// About implements [Selective].
func (CertificateRequests) About(r *api.Resource) bool { return r.Group == certificatesv1.GroupName }

// Admit implements [Mutator].
func (CertificateRequests) Admit(_ context.Context, a *Attributes) error {
	r, ok := a.Object.(*certificatesv1.CertificateSigningRequest)
	if !ok || a.Operation != Create {
		return nil
	}
	r.Spec.Username, r.Spec.UID, r.Spec.Groups, r.Spec.Extra = "", "", nil, nil
	if a.User == nil {
		return nil
	}
	r.Spec.Username, r.Spec.UID, r.Spec.Groups = a.User.GetName(), a.User.GetUID(), slices.Clone(a.User.GetGroups())
	for key, values := range a.User.GetExtra() {
		if r.Spec.Extra == nil {
			r.Spec.Extra = map[string]certificatesv1.ExtraValue{}
		}
		r.Spec.Extra[key] = slices.Clone(values)
	}
	return nil
}

// Validate implements [Validator].
func (p CertificateRequests) Validate(ctx context.Context, a *Attributes) error {
	switch obj := a.Object.(type) {
	case *certificatesv1.ClusterTrustBundle:
		return p.validateBundle(ctx, a, obj)
	case *certificatesv1.PodCertificateRequest:
		return p.validatePodRequest(ctx, a, obj)
	}
	r, ok := a.Object.(*certificatesv1.CertificateSigningRequest)
	if !ok {
		return nil
	}
	refuse := func(format string, args ...any) error {
		return apierrors.NewForbidden(a.Resource.GroupResource(), r.Name, fmt.Errorf(format, args...))
	}
	old, _ := a.Old.(*certificatesv1.CertificateSigningRequest)
	switch {
	case a.Operation == Create && r.Spec.SignerName == certificatesv1.KubeAPIServerClientSignerName:
		csr, err := certificates.Parse(r)
		if err != nil {
			return refuse("failed to parse CSR: %w", err)
		}
		if slices.Contains(csr.Subject.Organization, user.SystemPrivilegedGroup) {
			return refuse("use of %s signer with %s group is not allowed", r.Spec.SignerName, user.SystemPrivilegedGroup)
		}
	case a.Operation == Update && a.Subresource == "approval":
		if !p.may(ctx, a.User, "approve", old.Spec.SignerName) {
			return refuse("user not permitted to approve requests with signerName %q", old.Spec.SignerName)
		}
	case a.Operation == Update && a.Subresource == "status":
		same := bytes.Equal(old.Status.Certificate, r.Status.Certificate) && equality.Semantic.DeepEqual(old.Status.Conditions, r.Status.Conditions)
		if !same && !p.may(ctx, a.User, "sign", old.Spec.SignerName) {
			return refuse("user not permitted to sign requests with signerName %q", old.Spec.SignerName)
		}
	}
	return nil
}

// validateBundle lets others write what says nothing new, as migrations and the garbage collector do.
func (p CertificateRequests) validateBundle(ctx context.Context, a *Attributes, b *certificatesv1.ClusterTrustBundle) error {
	if b.Spec.SignerName == "" || a.Operation == Update && onlyCollects(b, a.Old) || p.may(ctx, a.User, "attest", b.Spec.SignerName) {
		return nil
	}
	return refuse(a, b, "user not permitted to attest for signerName %q", b.Spec.SignerName)
}

// onlyCollects tells that nothing but owners and finalizers changes.
func onlyCollects(b *certificatesv1.ClusterTrustBundle, old api.Object) bool {
	was, ok := old.(*certificatesv1.ClusterTrustBundle)
	if !ok {
		return false
	}
	same := b.DeepCopy()
	same.OwnerReferences, same.Finalizers, same.ManagedFields = was.OwnerReferences, was.Finalizers, was.ManagedFields
	return equality.Semantic.DeepEqual(same, was)
}

func (p CertificateRequests) validatePodRequest(ctx context.Context, a *Attributes, r *certificatesv1.PodCertificateRequest) error {
	if a.Operation != Update || a.Subresource != "status" {
		return nil
	}
	old := a.Old.(*certificatesv1.PodCertificateRequest)
	if equality.Semantic.DeepEqual(old.Status, r.Status) || p.may(ctx, a.User, "sign", old.Spec.SignerName) {
		return nil
	}
	return apierrors.NewInvalid(a.Resource.GroupVersionKind().GroupKind(), r.Name, field.ErrorList{field.Forbidden(
		field.NewPath("spec", "signerName"), fmt.Sprintf("User %q is not permitted to \"sign\" for signer %q", a.User.GetName(), old.Spec.SignerName))})
}

// may asks for the signer, and for all signers of its domain.
func (p CertificateRequests) may(ctx context.Context, who user.Info, verb, signer string) bool {
	domain, _, _ := strings.Cut(signer, "/")
	for _, name := range []string{signer, domain + "/*"} {
		decision, _, err := p.May.Authorize(ctx, &authorizer.AttributesRecord{
			User: who, Verb: verb, APIGroup: certificatesv1.GroupName, APIVersion: "*", Resource: "signers", Name: name, ResourceRequest: true,
		})
		if err == nil && decision == authorizer.DecisionAllow {
			return true
		}
	}
	return false
}
