package certificates

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

type fieldErrors = field.ErrorList

const (
	minExpiration = 600
	// No older version of the API is served whose requests may have this signer.
	legacySigner = "kubernetes.io/legacy-unknown"
)

var (
	conditionsPath  = field.NewPath("status", "conditions")
	certificatePath = field.NewPath("status", "certificate")
	decisions       = []certificatesv1.RequestConditionType{certificatesv1.CertificateApproved, certificatesv1.CertificateDenied}
	final           = append(slices.Clone(decisions), certificatesv1.CertificateFailed)
)

var usages = []certificatesv1.KeyUsage{
	certificatesv1.UsageAny, certificatesv1.UsageCRLSign, certificatesv1.UsageCertSign, certificatesv1.UsageClientAuth,
	certificatesv1.UsageCodeSigning, certificatesv1.UsageContentCommitment, certificatesv1.UsageDataEncipherment,
	certificatesv1.UsageDecipherOnly, certificatesv1.UsageDigitalSignature, certificatesv1.UsageEmailProtection,
	certificatesv1.UsageEncipherOnly, certificatesv1.UsageIPsecEndSystem, certificatesv1.UsageIPsecTunnel,
	certificatesv1.UsageIPsecUser, certificatesv1.UsageKeyAgreement, certificatesv1.UsageKeyEncipherment,
	certificatesv1.UsageMicrosoftSGC, certificatesv1.UsageNetscapeSGC, certificatesv1.UsageOCSPSigning,
	certificatesv1.UsageSMIME, certificatesv1.UsageServerAuth, certificatesv1.UsageSigning, certificatesv1.UsageTimestamping,
}

// validateRequest checks the whole object. What was wrong before may stay wrong, for such objects may come from elsewhere.
func validateRequest(r, old *request) field.ErrorList {
	p := field.NewPath("spec")
	var errs field.ErrorList
	if csr, err := Parse(r); err != nil {
		errs = append(errs, field.Invalid(p.Child("request"), r.Spec.Request, err.Error()))
	} else if err := csr.CheckSignature(); err != nil {
		errs = append(errs, field.Invalid(p.Child("request"), r.Spec.Request, err.Error()))
	}
	errs = append(errs, validateUsages(r, old, p.Child("usages"))...)
	if r.Spec.SignerName == legacySigner && (old == nil || old.Spec.SignerName != legacySigner) {
		errs = append(errs, field.Invalid(p.Child("signerName"), r.Spec.SignerName, "the legacy signerName is not allowed via this API version"))
	} else {
		errs = append(errs, validateSigner(p.Child("signerName"), r.Spec.SignerName)...)
	}
	if s := r.Spec.ExpirationSeconds; s != nil && *s < minExpiration {
		errs = append(errs, field.Invalid(p.Child("expirationSeconds"), *s, "may not specify a duration less than 600 seconds (10 minutes)"))
	}
	errs = append(errs, validateConditions(r, old)...)
	if old == nil || !bytes.Equal(old.Status.Certificate, r.Status.Certificate) {
		if err := checkCertificate(r.Status.Certificate); err != nil {
			errs = append(errs, field.Invalid(certificatePath, "<certificate data>", err.Error()))
		}
	}
	return errs
}

func validateUsages(r, old *request, p *field.Path) field.ErrorList {
	if len(r.Spec.Usages) == 0 {
		return field.ErrorList{field.Required(p, "")}
	}
	if old != nil {
		return nil // they do not change
	}
	var errs field.ErrorList
	for i, u := range r.Spec.Usages {
		if !slices.Contains(usages, u) {
			errs = append(errs, field.NotSupported(p.Index(i), u, usages))
		}
		if slices.Contains(r.Spec.Usages[:i], u) {
			errs = append(errs, field.Duplicate(p.Index(i), u))
		}
	}
	return errs
}

// validateSigner wants a domain and a path, each of which can be a part of a resource name.
func validateSigner(p *field.Path, name string) field.ErrorList {
	if name == "" {
		return field.ErrorList{field.Required(p, "")}
	}
	domain, path, ok := strings.Cut(name, "/")
	if !ok || strings.Contains(path, "/") {
		return field.ErrorList{field.Invalid(p, name, "must be a fully qualified domain and path of the form 'example.com/signer-name'")}
	}
	var errs field.ErrorList
	if len(domain) > utilvalidation.DNS1123SubdomainMaxLength {
		errs = append(errs, field.TooLong(p, "", utilvalidation.DNS1123SubdomainMaxLength))
	}
	labels := strings.Split(domain, ".")
	errs = append(errs, firstWrong(p, domain, labels, utilvalidation.IsDNS1123Label)...)
	if len(labels) < 2 {
		errs = append(errs, field.Invalid(p, domain, "should be a domain with at least two segments separated by dots"))
	}
	errs = append(errs, firstWrong(p, path, strings.Split(path, "."), utilvalidation.IsDNS1123Subdomain)...)
	if longest := 2*utilvalidation.DNS1123SubdomainMaxLength + utilvalidation.DNS1123LabelMaxLength + 2; len(name) > longest {
		errs = append(errs, field.TooLong(p, "", longest))
	}
	return errs
}

func firstWrong(p *field.Path, whole string, labels []string, check func(string) []string) field.ErrorList {
	for _, label := range labels {
		var errs field.ErrorList
		for _, msg := range check(label) {
			errs = append(errs, field.Invalid(p, whole, fmt.Sprintf("validating label %q: %s", label, msg)))
		}
		if len(errs) > 0 {
			return errs
		}
	}
	return nil
}

func validateConditions(r, old *request) field.ErrorList {
	if old != nil && equality.Semantic.DeepEqual(r.Status.Conditions, old.Status.Conditions) {
		return nil
	}
	var errs field.ErrorList
	seen := map[certificatesv1.RequestConditionType]bool{}
	for i, c := range r.Status.Conditions {
		p := conditionsPath.Index(i)
		if c.Type == "" {
			errs = append(errs, field.Required(p.Child("type"), ""))
		}
		allowed := []corev1.ConditionStatus{corev1.ConditionFalse, corev1.ConditionTrue, corev1.ConditionUnknown}
		if slices.Contains(final, c.Type) {
			allowed = []corev1.ConditionStatus{corev1.ConditionTrue}
		}
		if c.Status == "" {
			errs = append(errs, field.Required(p.Child("status"), ""))
		} else if !slices.Contains(allowed, c.Status) {
			errs = append(errs, field.NotSupported(p.Child("status"), c.Status, allowed))
		}
		if seen[c.Type] {
			errs = append(errs, field.Duplicate(p.Child("type"), c.Type))
		}
		seen[c.Type] = true
		if slices.Contains(decisions, c.Type) && seen[decisions[0]] && seen[decisions[1]] {
			errs = append(errs, field.Invalid(conditionsPath, c.Type, "Approved and Denied conditions are mutually exclusive"))
		}
	}
	return errs
}

// validateUpdate checks a write of the object, of its status or of its approval, each of which may set something else.
func validateUpdate(r, old *request, subresource string) field.ErrorList {
	errs := validateRequest(r, old)
	for _, kind := range final {
		if len(find(r, kind)) < len(find(old, kind)) {
			errs = append(errs, field.Forbidden(conditionsPath, fmt.Sprintf("updates may not remove a condition of type %q", kind)))
		}
	}
	for _, kind := range decisions {
		now, before := find(r, kind), find(old, kind)
		switch {
		case subresource == "approval" || len(now) < len(before):
		case len(now) > len(before):
			errs = append(errs, field.Forbidden(conditionsPath, fmt.Sprintf("updates may not add a condition of type %q", kind)))
		case !equality.Semantic.DeepEqual(now, before):
			errs = append(errs, field.Forbidden(conditionsPath, fmt.Sprintf("updates may not modify a condition of type %q", kind)))
		}
	}
	if bytes.Equal(r.Status.Certificate, old.Status.Certificate) {
		return errs
	}
	if subresource != "status" {
		return append(errs, field.Forbidden(certificatePath, "updates may not set certificate content"))
	}
	if len(old.Status.Certificate) > 0 {
		errs = append(errs, field.Forbidden(certificatePath, "updates may not modify existing certificate content"))
	}
	return errs
}

// checkCertificate wants certificates in PEM and nothing else.
func checkCertificate(data []byte) error {
	if len(data) == 0 {
		return nil
	}
	found := false
	for {
		var block *pem.Block
		block, data = pem.Decode(data)
		switch {
		case block == nil && !found:
			return errors.New("must contain at least one CERTIFICATE PEM block")
		case block == nil:
			return nil
		case block.Type != "CERTIFICATE":
			return fmt.Errorf("only CERTIFICATE PEM blocks are allowed, found %q", block.Type)
		case len(block.Headers) > 0:
			return errors.New("no PEM block headers are permitted")
		}
		found = true
		if certs, err := x509.ParseCertificates(block.Bytes); err != nil {
			return err
		} else if len(certs) == 0 {
			return errors.New("found CERTIFICATE PEM block containing 0 certificates")
		}
	}
}
