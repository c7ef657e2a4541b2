package certificates

import (
	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/gantryio/gantry/core/api"
)

type podRequest = certificatesv1.PodCertificateRequest

// PodCertificateRequests is all that the server, the printer and the docs know of PodCertificateRequest (KEP-4317).
var PodCertificateRequests = api.Kind[podRequest]{
	Group: "certificates.k8s.io", Version: "v1", Name: "PodCertificateRequest", Plural: "podcertificaterequests",
	Namespaced: true, Subresources: api.Status,
	Earlier: []string{"certificates.k8s.io/v1beta1"}, UnconditionalUpdateForbidden: true,
	Default: func(r *podRequest) {
		if r.Spec.MaxExpirationSeconds == nil {
			r.Spec.MaxExpirationSeconds = new(int32(kubernetesMaxExpiration))
		}
	},
	Validate:       validatePodRequest,
	ValidateStatus: validatePodRequestStatus,
	Columns: []api.Column[podRequest]{
		api.NameColumn[podRequest](),
		{Name: "PodName", Description: "The pod that is to get the certificate.", Cell: func(r *podRequest) any { return r.Spec.PodName }},
		{Name: "ServiceAccountName", Description: "The pod's service account.", Cell: func(r *podRequest) any { return r.Spec.ServiceAccountName }},
		{Name: "NodeName", Description: "The pod's node.", Cell: func(r *podRequest) any { return string(r.Spec.NodeName) }},
		{Name: "SignerName", Description: "Who is to sign.", Cell: func(r *podRequest) any { return r.Spec.SignerName }},
		{Name: "State", Description: "What has been decided.", Cell: func(r *podRequest) any { return podRequestState(r) }},
		{
			Name: "UnverifiedUserAnnotations", Priority: 1, Description: "What the pod's author tells the signer.",
			Cell: func(r *podRequest) any { return labels.FormatLabels(r.Spec.UnverifiedUserAnnotations) },
		},
	},
	Fields: map[string]func(*podRequest) string{
		"spec.signerName": func(r *podRequest) string { return r.Spec.SignerName },
		"spec.podName":    func(r *podRequest) string { return r.Spec.PodName },
		"spec.nodeName":   func(r *podRequest) string { return string(r.Spec.NodeName) },
	},
	Indexed: []string{"spec.nodeName"},
}

func podRequestState(r *podRequest) string {
	state := "Pending"
	for _, c := range r.Status.Conditions {
		switch c.Type {
		case certificatesv1.PodCertificateRequestConditionTypeIssued, certificatesv1.PodCertificateRequestConditionTypeDenied,
			certificatesv1.PodCertificateRequestConditionTypeFailed:
			state = c.Type
		}
	}
	return state
}
