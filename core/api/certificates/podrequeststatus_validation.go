package certificates

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/mail"
	"strings"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

const (
	issued = certificatesv1.PodCertificateRequestConditionTypeIssued
	denied = certificatesv1.PodCertificateRequestConditionTypeDenied
	failed = certificatesv1.PodCertificateRequestConditionTypeFailed

	clockSkew   = 5 * time.Minute
	minLifetime = time.Hour
	minOverlap  = 10 * time.Minute
)

var (
	chainPath     = field.NewPath("status", "certificateChain")
	notBeforePath = field.NewPath("status", "notBefore")
	notAfterPath  = field.NewPath("status", "notAfter")
	refreshPath   = field.NewPath("status", "beginRefreshAt")
)

func holds(r *podRequest, kinds ...string) bool {
	for _, kind := range kinds {
		if meta.IsStatusConditionTrue(r.Status.Conditions, kind) {
			return true
		}
	}
	return false
}

// validatePodRequestStatus lets a request be issued, denied or failed, once.
func validatePodRequestStatus(r, old *podRequest) field.ErrorList {
	if errs := validatePodConditions(r.Status.Conditions); len(errs) > 0 {
		return errs
	}
	unless := func(same bool, detail string) field.ErrorList {
		if same {
			return nil
		}
		return field.ErrorList{field.Invalid(field.NewPath("status"), field.OmitValueType{}, detail)}
	}
	switch {
	case holds(old, issued, denied, failed):
		return unless(equality.Semantic.DeepEqual(r.Status, old.Status), "immutable after PodCertificateRequest is issued, denied, or failed")
	case holds(r, denied, failed):
		bare := certificatesv1.PodCertificateRequestStatus{Conditions: r.Status.Conditions}
		return unless(equality.Semantic.DeepEqual(r.Status, bare), "non-condition status fields must be empty when denying or failing the PodCertificateRequest")
	case holds(r, issued):
		return validateIssued(r, old, time.Now())
	}
	return unless(equality.Semantic.DeepEqual(r.Status, old.Status), `status is immutable unless transitioning to "Issued", "Denied", or "Failed"`)
}

func validatePodConditions(list []metav1.Condition) field.ErrorList {
	var errs field.ErrorList
	known := 0
	for i, c := range list {
		p := conditionsPath.Index(i)
		switch c.Type {
		case issued, denied, failed:
			if known++; known > 1 {
				errs = append(errs, field.Invalid(p.Child("type"), c.Type, `There may be at most one condition with type "Issued", "Denied", or "Failed"`))
			}
			if c.Status != metav1.ConditionTrue {
				errs = append(errs, field.NotSupported(p.Child("status"), c.Status, []metav1.ConditionStatus{metav1.ConditionTrue}))
			}
		default:
			errs = append(errs, field.NotSupported(p.Child("type"), c.Type, []string{issued, denied, failed}))
		}
	}
	return append(errs, metavalidation.ValidateConditions(list, conditionsPath)...)
}

// validateIssued checks that the chain is for the key that was asked for, and that the status says of it what is so.
func validateIssued(r, old *podRequest, now time.Time) field.ErrorList {
	s := &r.Status
	if len(s.CertificateChain) > maxChain {
		return field.ErrorList{field.TooLong(chainPath, s.CertificateChain, maxChain)}
	}
	leaf, errs := parseChain(s.CertificateChain)
	if leaf == nil {
		return errs
	}
	errs = append(errs, validateNames(leaf)...)
	want, wrong := requestedKey(old)
	if wrong != nil {
		return append(errs, wrong)
	}
	if !want.Equal(leaf.PublicKey) {
		return append(errs, field.Invalid(chainPath, s.CertificateChain, "leaf certificate was not issued to the requested public key"))
	}
	if s.NotBefore == nil {
		errs = append(errs, field.Required(notBeforePath, "must be present and consistent with the issued certificate"))
	}
	if s.NotAfter == nil {
		errs = append(errs, field.Required(notAfterPath, "must be present and consistent with the issued certificate"))
	}
	if s.BeginRefreshAt == nil {
		errs = append(errs, field.Required(refreshPath, "must be present and in the range [notbefore+10min, notafter-10min]"))
	}
	if len(errs) > 0 {
		return errs
	}
	if wrong := timesFault(r, leaf, now); wrong != nil {
		return field.ErrorList{wrong}
	}
	return nil
}

func timesFault(r *podRequest, leaf *x509.Certificate, now time.Time) *field.Error {
	from, to, refresh := r.Status.NotBefore.Time, r.Status.NotAfter.Time, r.Status.BeginRefreshAt.Time
	lifetime := leaf.NotAfter.Sub(leaf.NotBefore)
	switch longest := *r.Spec.MaxExpirationSeconds; {
	case !from.Equal(leaf.NotBefore):
		return field.Invalid(notBeforePath, from, "must be set to the NotBefore time encoded in the leaf certificate")
	case now.Sub(from).Abs() >= clockSkew:
		return field.Invalid(notBeforePath, from, "must be set to within 5 minutes of kube-apiserver's current time")
	case !to.Equal(leaf.NotAfter):
		return field.Invalid(notAfterPath, to, "must be set to the NotAfter time encoded in the leaf certificate")
	case lifetime < minLifetime:
		return field.Invalid(chainPath, lifetime, "leaf certificate lifetime must be >= 1 hour")
	case lifetime > time.Duration(longest)*time.Second:
		return field.Invalid(chainPath, lifetime, fmt.Sprintf("leaf certificate lifetime must be <= spec.maxExpirationSeconds (%v)", longest))
	case refresh.Before(from.Add(minOverlap)):
		return field.Invalid(refreshPath, refresh, "must be at least 10 minutes after status.notBefore")
	case refresh.After(to.Add(-minOverlap)):
		return field.Invalid(refreshPath, refresh, "must be at least 10 minutes before status.notAfter")
	}
	return nil
}

// parseChain returns the first certificate, or what is wrong with the chain.
func parseChain(chain string) (*x509.Certificate, field.ErrorList) {
	refuse := func(detail string) (*x509.Certificate, field.ErrorList) {
		return nil, field.ErrorList{field.Invalid(chainPath, chain, detail)}
	}
	var leaf *x509.Certificate
	for rest := []byte(chain); ; {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		switch {
		case block == nil && leaf == nil:
			return refuse("issued certificate chain must contain at least one certificate")
		case block == nil:
			return leaf, nil
		case block.Type != "CERTIFICATE":
			return refuse("issued certificate chain must consist entirely of CERTIFICATE PEM blocks")
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		switch {
		case err != nil && leaf == nil:
			return refuse("leaf certificate does not parse as valid X.509")
		case err != nil:
			return refuse("intermediate certificate does not parse as valid X.509")
		case leaf == nil:
			leaf = cert
		}
	}
}

func validateNames(leaf *x509.Certificate) field.ErrorList {
	var errs field.ErrorList
	refuse := func(name, detail string) { errs = append(errs, field.Invalid(chainPath, name, detail)) }
	for _, name := range leaf.DNSNames {
		if name == "" {
			refuse(name, "leaf certificate should not contain empty DNSName")
		}
		if strings.Contains(name, "..") {
			refuse(name, "leaf certificate's DNSName should not contain '..'")
		}
		if strings.HasPrefix(name, ".") || strings.HasSuffix(name, ".") {
			refuse(name, "leaf certificate's DNSName should not start or end with '.'")
		}
	}
	for _, address := range leaf.EmailAddresses {
		if _, err := mail.ParseAddress(address); err != nil {
			refuse(address, "leaf certificate should not contain invalid EmailAddress")
		}
	}
	return errs
}

// comparableKey is what all public keys of the standard library are.
type comparableKey interface{ Equal(crypto.PublicKey) bool }

func requestedKey(r *podRequest) (comparableKey, *field.Error) {
	csr, err := x509.ParseCertificateRequest(r.Spec.StubPKCS10Request)
	if err != nil {
		return nil, field.Invalid(stubPath, field.OmitValueType{}, "must be a valid PKCS#10 CSR")
	}
	key, ok := csr.PublicKey.(comparableKey)
	if !ok {
		return nil, field.Invalid(stubPath, field.OmitValueType{}, "unknown public key type; supported types are Ed25519, ECDSA, and RSA")
	}
	return key, nil
}
