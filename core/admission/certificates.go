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
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/gantryio/gantry/core/api/certificates"
)

// CertificateRequests writes into certificate signing requests who makes them, and lets them be approved and signed only by
// those who may do so for the signer: the verbs "approve" and "sign" on "signers". It is Kubernetes' CertificateApproval,
// CertificateSigning and CertificateSubjectRestriction.
type CertificateRequests struct {
	May authorizer.UnconditionalAuthorizer
}

var (
	_ Mutator   = CertificateRequests{}
	_ Validator = CertificateRequests{}
)

// Name implements [Plugin].
func (CertificateRequests) Name() string { return "CertificateApproval" }

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
