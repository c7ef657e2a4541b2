package certificates

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"

	certificatesv1 "k8s.io/api/certificates/v1"
)

// Signable checks a request by the rules of Kubernetes' own signers, see
// https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/#kubernetes-signers.
// It returns false for a signer that is none of these.
func Signable(csr *x509.CertificateRequest, r *request) (bool, error) {
	switch r.Spec.SignerName {
	case certificatesv1.KubeAPIServerClientSignerName:
		return true, checkClient(r.Spec.Usages)
	case certificatesv1.KubeAPIServerClientKubeletSignerName:
		return true, checkAgentClient(csr, r.Spec.Usages)
	case certificatesv1.KubeletServingSignerName:
		return true, checkAgentServing(csr, r.Spec.Usages)
	}
	return false, nil
}

func checkClient(usages []certificatesv1.KeyUsage) error {
	for _, u := range usages {
		if u != certificatesv1.UsageDigitalSignature && u != certificatesv1.UsageKeyEncipherment && u != certificatesv1.UsageClientAuth {
			return fmt.Errorf("invalid usage for client certificate: %s", u)
		}
	}
	if !slices.Contains(usages, certificatesv1.UsageClientAuth) {
		return fmt.Errorf("missing required usage for client certificate: %s", certificatesv1.UsageClientAuth)
	}
	return nil
}

func checkAgentClient(csr *x509.CertificateRequest, usages []certificatesv1.KeyUsage) error {
	switch {
	case !slices.Equal(csr.Subject.Organization, []string{"system:nodes"}):
		return errors.New("subject organization is not system:nodes")
	case len(csr.DNSNames) > 0:
		return errors.New("DNS subjectAltNames are not allowed")
	case len(csr.EmailAddresses) > 0:
		return errors.New("Email subjectAltNames are not allowed") //nolint:staticcheck // Kubernetes' words
	case len(csr.IPAddresses) > 0:
		return errors.New("IP subjectAltNames are not allowed")
	case len(csr.URIs) > 0:
		return errors.New("URI subjectAltNames are not allowed")
	}
	return checkAgent(csr, usages, certificatesv1.UsageClientAuth)
}

func checkAgentServing(csr *x509.CertificateRequest, usages []certificatesv1.KeyUsage) error {
	switch {
	case !slices.Equal(csr.Subject.Organization, []string{"system:nodes"}):
		return errors.New("subject organization is not system:nodes")
	case len(csr.DNSNames)+len(csr.IPAddresses) == 0:
		return errors.New("DNS or IP subjectAltName is required")
	case len(csr.EmailAddresses) > 0:
		return errors.New("Email subjectAltNames are not allowed") //nolint:staticcheck // Kubernetes' words
	case len(csr.URIs) > 0:
		return errors.New("URI subjectAltNames are not allowed")
	}
	return checkAgent(csr, usages, certificatesv1.UsageServerAuth)
}

func checkAgent(csr *x509.CertificateRequest, usages []certificatesv1.KeyUsage, purpose certificatesv1.KeyUsage) error {
	if !strings.HasPrefix(csr.Subject.CommonName, "system:node:") {
		return errors.New("subject common name does not begin with system:node:")
	}
	want := []certificatesv1.KeyUsage{purpose, certificatesv1.UsageDigitalSignature, certificatesv1.UsageKeyEncipherment}
	slices.Sort(want)
	have := slices.Clone(usages)
	if !slices.Contains(have, certificatesv1.UsageKeyEncipherment) {
		have = append(have, certificatesv1.UsageKeyEncipherment) // only RSA keys can
	}
	slices.Sort(have)
	if !slices.Equal(have, want) {
		return fmt.Errorf("usages did not match %v", want)
	}
	return nil
}
