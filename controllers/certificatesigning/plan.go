package certificatesigning

import (
	"crypto/x509"
	"encoding/pem"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gantryio/gantry/core/api/certificates"
)

type request = certificatesv1.CertificateSigningRequest

// How long requests are kept, as in Kubernetes.
const (
	keepDecided = time.Hour
	keepPending = 24 * time.Hour
)

// step is what is done about a request now.
type step struct {
	// remove deletes it; otherwise it is looked at again after wait.
	remove bool
	wait   time.Duration
	// review lists the permissions of which one lets the request be approved by itself.
	review []string
	// fail is why no certificate can be issued; sign issues one.
	fail error
	sign bool
}

// plan decides about a request.
func plan(r *request, now time.Time) step {
	end := expiry(r)
	if !end.IsZero() && !end.After(now) {
		return step{remove: true}
	}
	s := step{}
	if !end.IsZero() {
		s.wait = end.Sub(now)
	}
	if len(r.Status.Certificate) > 0 || certificates.Has(r, certificatesv1.CertificateDenied) || certificates.Has(r, certificatesv1.CertificateFailed) {
		return s
	}
	csr, err := certificates.Parse(r)
	if err != nil {
		return s // validation let nothing of the sort in
	}
	ours, err := certificates.Signable(csr, r)
	switch {
	case !ours:
	case certificates.Has(r, certificatesv1.CertificateApproved):
		s.sign, s.fail = err == nil, err
	case err == nil && r.Spec.SignerName == certificatesv1.KubeAPIServerClientKubeletSignerName:
		if r.Spec.Username == csr.Subject.CommonName {
			s.review = append(s.review, "selfnodeclient")
		}
		s.review = append(s.review, "nodeclient")
	}
	return s
}

// expiry is when a request is deleted.
func expiry(r *request) time.Time {
	var out time.Time
	sooner := func(from metav1.Time, keep time.Duration) {
		if end := from.Add(keep); !from.IsZero() && (out.IsZero() || end.Before(out)) {
			out = end
		}
	}
	if len(r.Status.Conditions) == 0 {
		sooner(r.CreationTimestamp, keepPending)
	}
	for _, c := range r.Status.Conditions {
		switch {
		case c.Type == certificatesv1.CertificateDenied, c.Type == certificatesv1.CertificateFailed:
			sooner(c.LastUpdateTime, keepDecided)
		case c.Type == certificatesv1.CertificateApproved && len(r.Status.Certificate) > 0:
			sooner(c.LastUpdateTime, keepDecided)
		case c.Type == certificatesv1.CertificateApproved:
			sooner(c.LastUpdateTime, keepPending)
		}
	}
	if block, _ := pem.Decode(r.Status.Certificate); block != nil {
		if cert, err := x509.ParseCertificate(block.Bytes); err == nil {
			sooner(metav1.NewTime(cert.NotAfter), 0)
		}
	}
	return out
}

const (
	longest  = 365 * 24 * time.Hour
	shortest = 10 * time.Minute
)

// life is how long the certificate is valid.
func life(r *request) time.Duration {
	if r.Spec.ExpirationSeconds == nil {
		return longest
	}
	return min(max(time.Duration(*r.Spec.ExpirationSeconds)*time.Second, shortest), longest)
}
