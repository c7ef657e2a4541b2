package core

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

const (
	minTokenSeconds = 10 * 60
	maxTokenSeconds = 1 << 32
)

func validateProjected(v *corev1.ProjectedVolumeSource, p *field.Path) field.ErrorList {
	errs := validateMode(v.DefaultMode, p.Child("defaultMode"))
	paths := pathSet{seen: sets.New[string]()}
	for i := range v.Sources {
		at := p.Child("sources").Index(i)
		types := setSources(&v.Sources[i])
		if len(types) == 0 {
			errs = append(errs, field.Required(at, "must specify a volume type"))
			continue
		}
		for _, name := range types[1:] {
			errs = append(errs, field.Forbidden(at.Child(name), "may not specify more than 1 volume type per source"))
		}
		errs = append(errs, validateProjection(&v.Sources[i], paths, at)...)
	}
	return errs
}

func validateProjection(s *corev1.VolumeProjection, paths pathSet, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	switch {
	case s.Secret != nil:
		at := p.Child("secret")
		errs = append(errs, required(s.Secret.Name, at.Child("name"))...)
		errs = append(errs, projectItems(s.Secret.Items, paths, at)...)
	case s.ConfigMap != nil:
		at := p.Child("configMap")
		errs = append(errs, required(s.ConfigMap.Name, at.Child("name"))...)
		errs = append(errs, projectItems(s.ConfigMap.Items, paths, at)...)
	case s.DownwardAPI != nil:
		at := p.Child("downwardAPI")
		errs = append(errs, validateDownward(s.DownwardAPI.Items, at)...)
		for _, item := range s.DownwardAPI.Items {
			errs = append(errs, paths.add(item.Path, p)...)
		}
	case s.ServiceAccountToken != nil:
		errs = append(errs, validateToken(s.ServiceAccountToken, paths, p)...)
	case s.ClusterTrustBundle != nil:
		errs = append(errs, validateTrustBundle(s.ClusterTrustBundle, paths, p.Child("clusterTrustBundle"))...)
	case s.PodCertificate != nil:
		at := p.Child("podCertificate")
		errs = append(errs, required(s.PodCertificate.SignerName, at.Child("signerName"))...)
		errs = append(errs, required(s.PodCertificate.KeyType, at.Child("keyType"))...)
		for _, path := range []string{s.PodCertificate.CredentialBundlePath, s.PodCertificate.KeyPath, s.PodCertificate.CertificateChainPath} {
			errs = append(errs, paths.add(path, at)...)
			errs = append(errs, fileInVolume(path, at)...)
		}
	}
	return errs
}

func projectItems(items []corev1.KeyToPath, paths pathSet, p *field.Path) field.ErrorList {
	errs := validateItems(items, p.Child("items"))
	for i, item := range items {
		errs = append(errs, paths.add(item.Path, p.Child("items").Index(i).Child("path"))...)
	}
	return errs
}

func validateToken(t *corev1.ServiceAccountTokenProjection, paths pathSet, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	at := p.Child("serviceAccountToken")
	if s := t.ExpirationSeconds; s != nil {
		if *s < minTokenSeconds {
			errs = append(errs, field.Invalid(at.Child("expirationSeconds"), *s, "may not specify a duration less than 10 minutes"))
		}
		if *s > maxTokenSeconds {
			errs = append(errs, field.Invalid(at.Child("expirationSeconds"), *s, "may not specify a duration larger than 2^32 seconds"))
		}
	}
	errs = append(errs, required(t.Path, at.Child("path"))...)
	errs = append(errs, fileInVolume(t.Path, at.Child("path"))...)
	return append(errs, paths.add(t.Path, at.Child("path"))...)
}

func validateTrustBundle(b *corev1.ClusterTrustBundleProjection, paths pathSet, p *field.Path) field.ErrorList {
	var errs field.ErrorList
	named, signed := b.Name != nil, b.SignerName != nil
	switch {
	case named && signed:
		errs = append(errs, field.Invalid(p, b, "only one of name and signerName may be used"))
	case named && *b.Name == "":
		errs = append(errs, field.Required(p.Child("name"), "must be a valid object name"))
	case named && b.LabelSelector != nil:
		errs = append(errs, field.Invalid(p.Child("labelSelector"), b.LabelSelector, "labelSelector must be unset if name is specified"))
	case signed && *b.SignerName == "":
		errs = append(errs, field.Required(p.Child("signerName"), "must be a valid signer name"))
	case !named && !signed:
		errs = append(errs, field.Required(p, "either name or signerName must be specified"))
	}
	errs = append(errs, validateSelector(b.LabelSelector, p.Child("labelSelector"))...)
	errs = append(errs, required(b.Path, p.Child("path"))...)
	errs = append(errs, fileInVolume(b.Path, p.Child("path"))...)
	return append(errs, paths.add(b.Path, p.Child("path"))...)
}

// validateSelector takes nil, which selects nothing.
func validateSelector(s *metav1.LabelSelector, p *field.Path) field.ErrorList {
	return metavalidation.ValidateLabelSelector(s, metavalidation.LabelSelectorValidationOptions{}, p)
}
