package certificates

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/validation"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api"
)

const (
	minMaxExpiration        = 60 * 60
	kubernetesMaxExpiration = 24 * 60 * 60
	otherMaxExpiration      = 91 * 24 * 60 * 60
	maxKey                  = 10 << 10
	maxUID                  = 128
	maxChain                = 100 << 10
)

var stubPath = field.NewPath("spec", "stubPKCS10Request")

func validatePodRequest(r, old *podRequest) field.ErrorList {
	p := field.NewPath("spec")
	if old != nil {
		if !equality.Semantic.DeepEqual(r.Spec, old.Spec) {
			return field.ErrorList{field.Invalid(p, r.Spec, validation.FieldImmutableErrorMsg)}
		}
		return nil
	}
	errs := validateSigner(p.Child("signerName"), r.Spec.SignerName)
	errs = append(errs, validateUserAnnotations(r.Spec.UnverifiedUserAnnotations, p.Child("unverifiedUserAnnotations"))...)
	for _, part := range []struct{ what, name, uid string }{
		{"pod", r.Spec.PodName, string(r.Spec.PodUID)},
		{"serviceAccount", r.Spec.ServiceAccountName, string(r.Spec.ServiceAccountUID)},
		{"node", string(r.Spec.NodeName), string(r.Spec.NodeUID)},
	} {
		for _, msg := range api.ValidateSubdomain(part.name, false) {
			errs = append(errs, field.Invalid(p.Child(part.what+"Name"), part.name, msg))
		}
		switch at := p.Child(part.what + "UID"); {
		case part.uid == "":
			errs = append(errs, field.Invalid(at, part.uid, "must not be empty"))
		case len(part.uid) > maxUID:
			errs = append(errs, field.TooLong(at, part.uid, maxUID))
		}
	}
	if r.Spec.MaxExpirationSeconds == nil {
		return append(errs, field.Required(p.Child("maxExpirationSeconds"), "must be set"))
	}
	longest := int32(otherMaxExpiration)
	if domain, _, _ := strings.Cut(r.Spec.SignerName, "/"); domain == "kubernetes.io" || strings.HasSuffix(domain, ".kubernetes.io") {
		longest = kubernetesMaxExpiration
	}
	if s := *r.Spec.MaxExpirationSeconds; s < minMaxExpiration || s > longest {
		errs = append(errs, field.Invalid(p.Child("maxExpirationSeconds"), s, fmt.Sprintf("must be in the range [%d, %d]", minMaxExpiration, longest)))
	}
	return append(errs, validateStub(r.Spec.StubPKCS10Request)...)
}

func validateUserAnnotations(annotations map[string]string, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	for key := range annotations {
		errs = append(errs, utilvalidation.IsDomainPrefixedKey(p, strings.ToLower(key))...)
	}
	if validation.ValidateAnnotationsSize(annotations) != nil {
		errs = append(errs, field.TooLong(p, "", validation.TotalAnnotationSizeLimitB))
	}
	return errs
}

// validateStub wants a key that is strong enough, and a signature that proves that who asks has its other half. What else the
// request says is for the signer.
func validateStub(stub []byte) field.ErrorList {
	if len(stub) == 0 {
		return field.ErrorList{field.Invalid(field.NewPath("spec"), field.OmitValueType{}, "exactly one of (stubPKCS10Request) or (pkixPublicKey, proofOfPossession) must be set")}
	}
	if len(stub) > maxKey {
		return field.ErrorList{field.TooLong(stubPath, stub, maxKey)}
	}
	csr, err := x509.ParseCertificateRequest(stub)
	if err != nil {
		return field.ErrorList{field.Invalid(stubPath, field.OmitValueType{}, "must be a valid PKCS#10 CSR")}
	}
	if wrong := keyFault(csr.PublicKey, stubPath); wrong != nil {
		return field.ErrorList{wrong}
	}
	if csr.CheckSignature() != nil {
		return field.ErrorList{field.Invalid(stubPath, field.OmitValueType{}, "invalid signature")}
	}
	return nil
}

func keyFault(public crypto.PublicKey, p *field.Path) *field.Error {
	switch key := public.(type) {
	case ed25519.PublicKey:
		return nil
	case *ecdsa.PublicKey:
		if key.Curve != elliptic.P256() && key.Curve != elliptic.P384() && key.Curve != elliptic.P521() {
			return field.Invalid(p, "curve "+key.Curve.Params().Name, "elliptic public keys must use curve P256, P384, or P521")
		}
		return nil
	case *rsa.PublicKey:
		if bits := key.Size() * 8; bits != 3072 && bits != 4096 {
			return field.Invalid(p, fmt.Sprintf("%d-bit modulus", bits), "RSA keys must have modulus size 3072 or 4096")
		}
		return nil
	}
	return field.Invalid(p, field.OmitValueType{}, "unknown public key type; supported types are Ed25519, ECDSA, and RSA")
}
