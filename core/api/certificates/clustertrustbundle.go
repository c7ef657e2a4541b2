package certificates

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"

	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api"
)

type trustBundle = certificatesv1.ClusterTrustBundle

const maxTrustBundle = 1 << 20

// ClusterTrustBundles is all that the server, the printer and the docs know of ClusterTrustBundle.
var ClusterTrustBundles = api.Kind[trustBundle]{
	Group: "certificates.k8s.io", Version: "v1", Name: "ClusterTrustBundle", Plural: "clustertrustbundles",
	Earlier: []string{"certificates.k8s.io/v1alpha1", "certificates.k8s.io/v1beta1"}, UnconditionalUpdateForbidden: true,
	// What a name must look like depends on the signer.
	ValidateName: func(string, bool) []string { return nil },
	Validate:     validateTrustBundle,
	Columns: []api.Column[trustBundle]{
		api.NameColumn[trustBundle](),
		{Name: "SignerName", Description: "Whose anchors they are.", Cell: func(b *trustBundle) any { return bundleSigner(b) }},
	},
	Fields: map[string]func(*trustBundle) string{
		"spec.signerName": func(b *trustBundle) string { return b.Spec.SignerName },
	},
}

func bundleSigner(b *trustBundle) string {
	if b.Spec.SignerName == "" {
		return none
	}
	return b.Spec.SignerName
}

// validateTrustBundle does not read anchors again that were there before.
func validateTrustBundle(b, old *trustBundle) field.ErrorList {
	p := field.NewPath("spec")
	var errs field.ErrorList
	if b.Name != "" {
		for _, msg := range bundleName(b.Name, b.Spec.SignerName) {
			errs = append(errs, field.Invalid(field.NewPath("metadata", "name"), b.Name, msg))
		}
	}
	if b.Spec.SignerName != "" {
		errs = append(errs, validateSigner(p.Child("signerName"), b.Spec.SignerName)...)
	}
	if old == nil || old.Spec.TrustBundle != b.Spec.TrustBundle {
		errs = append(errs, validateAnchors(p.Child("trustBundle"), b.Spec.TrustBundle)...)
	}
	if old != nil {
		errs = append(errs, validation.ValidateImmutableField(b.Spec.SignerName, old.Spec.SignerName, p.Child("signerName"))...)
	}
	return errs
}

// bundleName makes names begin with their signer's.
func bundleName(name, signer string) []string {
	if signer == "" {
		if strings.Contains(name, ":") {
			return []string{`ClusterTrustBundle without signer name must not have ":" in its name`}
		}
		return api.ValidateSubdomain(name, false)
	}
	prefix := strings.ReplaceAll(signer, "/", ":") + ":"
	rest, ok := strings.CutPrefix(name, prefix)
	if !ok {
		return []string{fmt.Sprintf("ClusterTrustBundle for signerName %s must be named with prefix %s", signer, prefix)}
	}
	return api.ValidateSubdomain(rest, false)
}

// validateAnchors wants certificates of authorities in PEM, each of them once.
func validateAnchors(p *field.Path, bundle string) field.ErrorList {
	if len(bundle) > maxTrustBundle {
		return field.ErrorList{field.TooLong(p, "", maxTrustBundle)}
	}
	var errs field.ErrorList
	refuse := func(format string, args ...any) {
		errs = append(errs, field.Invalid(p, "<value omitted>", fmt.Sprintf(format, args...)))
	}
	seen := map[string][]int{}
	rest := []byte(bundle)
	for i := 0; ; i++ {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if wrong := anchorFault(block); wrong != "" {
			refuse("entry %d %s", i, wrong)
			continue
		}
		seen[string(block.Bytes)] = append(seen[string(block.Bytes)], i)
	}
	if len(errs) > 0 {
		return errs
	}
	if len(seen) == 0 {
		refuse("at least one trust anchor must be provided")
	}
	var twice [][]int
	for _, entries := range seen {
		if len(entries) > 1 {
			twice = append(twice, entries)
		}
	}
	slices.SortFunc(twice, slices.Compare)
	for _, entries := range twice {
		refuse("duplicate trust anchor (indices %v)", entries)
	}
	return errs
}

func anchorFault(block *pem.Block) string {
	switch {
	case block.Type != "CERTIFICATE":
		return fmt.Sprintf("has bad block type: %v", block.Type)
	case len(block.Headers) > 0:
		return "has PEM block headers"
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	switch {
	case err != nil:
		return "does not parse as X.509"
	case !cert.IsCA:
		return "does not have the CA bit set"
	case !cert.BasicConstraintsValid:
		return "has invalid basic constraints"
	}
	return ""
}
