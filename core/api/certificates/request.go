// Package certificates declares CertificateSigningRequest, and what the signers of Kubernetes accept.
package certificates

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/gantryio/gantry/core/api"
)

type (
	request   = certificatesv1.CertificateSigningRequest
	condition = certificatesv1.CertificateSigningRequestCondition
)

const none = "<none>"

// Requests is all that the server, the printer and the docs know of CertificateSigningRequest. Who asks is written into new ones
// by admission.
var Requests = api.Kind[request]{
	Group: "certificates.k8s.io", Version: "v1", Name: "CertificateSigningRequest", Plural: "certificatesigningrequests", Short: []string{"csr"},
	Earlier:      []string{"certificates.k8s.io/v1beta1"},
	Subresources: api.Status, StatusMetadata: true,
	Parts: map[string]api.Part[request]{
		"status": {Prepare: func(r, old *request) {
			keepDecision(r, old)
			stampConditions(r, old)
		}},
		"approval": {
			Prepare: func(r, old *request) {
				stampConditions(r, old)
				conditions := r.Status.Conditions
				r.Status = old.Status
				r.Status.Conditions = conditions
			},
			Validate: func(r, old *request) fieldErrors { return validateUpdate(r, old, "approval") },
		},
	},
	ValidateName: func(string, bool) []string { return nil },
	Prepare: func(r, old *request) {
		if old != nil {
			r.Spec = old.Spec
		}
	},
	Validate: func(r, old *request) fieldErrors {
		if old != nil {
			return validateUpdate(r, old, "")
		}
		return validateRequest(r, nil)
	},
	ValidateStatus: func(r, old *request) fieldErrors { return validateUpdate(r, old, "status") },
	Columns: []api.Column[request]{
		api.NameColumn[request](),
		api.AgeColumn[request](),
		{Name: "SignerName", Description: "Who is to sign.", Cell: func(r *request) any { return signer(r) }},
		{Name: "Requestor", Description: "Who asks.", Cell: func(r *request) any { return r.Spec.Username }},
		{Name: "RequestedDuration", Description: "How long the certificate is to be valid.", Cell: func(r *request) any { return requestedDuration(r) }},
		{Name: "Condition", Description: "What has been decided.", Cell: func(r *request) any { return state(r) }},
	},
	Fields: map[string]func(*request) string{
		"spec.signerName": func(r *request) string { return r.Spec.SignerName },
	},
}

// Parse reads the request that the object carries.
func Parse(r *request) (*x509.CertificateRequest, error) {
	block, _ := pem.Decode(r.Spec.Request)
	if block == nil || block.Type != "CERTIFICATE REQUEST" {
		return nil, errors.New("PEM block type must be CERTIFICATE REQUEST")
	}
	return x509.ParseCertificateRequest(block.Bytes)
}

// Has tells that the request has a condition, whose status is True then.
func Has(r *request, kind certificatesv1.RequestConditionType) bool {
	for _, c := range r.Status.Conditions {
		if c.Type == kind && c.Status != corev1.ConditionFalse {
			return true
		}
	}
	return false
}

func signer(r *request) string {
	if r.Spec.SignerName == "" {
		return none
	}
	return r.Spec.SignerName
}

func requestedDuration(r *request) string {
	if r.Spec.ExpirationSeconds == nil {
		return none
	}
	return duration.HumanDuration(time.Duration(*r.Spec.ExpirationSeconds) * time.Second)
}

func state(r *request) string {
	out := "Pending"
	switch {
	case Has(r, certificatesv1.CertificateDenied):
		out = "Denied"
	case Has(r, certificatesv1.CertificateApproved):
		out = "Approved"
	}
	if Has(r, certificatesv1.CertificateFailed) {
		out += ",Failed"
	}
	if len(r.Status.Certificate) > 0 {
		out += ",Issued"
	}
	return out
}

func find(r *request, kind certificatesv1.RequestConditionType) []*condition {
	var out []*condition
	for i := range r.Status.Conditions {
		if r.Status.Conditions[i].Type == kind {
			out = append(out, &r.Status.Conditions[i])
		}
	}
	return out
}

// keepDecision lets a write of the status that has the decision repeat it inexactly.
func keepDecision(r, old *request) {
	for _, kind := range []certificatesv1.RequestConditionType{certificatesv1.CertificateApproved, certificatesv1.CertificateDenied} {
		now, before := find(r, kind), find(old, kind)
		if len(now) != len(before) {
			continue // validation tells
		}
		for i := range now {
			*now[i] = *before[i]
		}
	}
}

// stampConditions gives new conditions their times.
func stampConditions(r, old *request) {
	now := metav1.Now().Rfc3339Copy()
	for i := range r.Status.Conditions {
		c := &r.Status.Conditions[i]
		if c.LastUpdateTime.IsZero() {
			c.LastUpdateTime = now
		}
		if !c.LastTransitionTime.IsZero() {
			continue
		}
		c.LastTransitionTime = now
		for _, before := range find(old, c.Type) {
			if before.Status == c.Status && !before.LastTransitionTime.IsZero() {
				c.LastTransitionTime = before.LastTransitionTime
				break
			}
		}
	}
}
