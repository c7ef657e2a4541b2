package main

import (
	"fmt"

	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/gantryio/gantry/core/admission"
	"github.com/gantryio/gantry/core/admission/podsecurity"
	"github.com/gantryio/gantry/core/admission/policy"
	"github.com/gantryio/gantry/core/admission/webhook"
	"github.com/gantryio/gantry/core/auth"
)

// admission is what every write goes through, in order. Quotas come last: nothing is charged for what others refuse.
func (s *server) admission(objects admission.Reader, roles *auth.RBAC, may authorizer.UnconditionalAuthorizer) admission.Chain {
	caller, err := webhook.NewCaller(objects, may, s.api)
	if err != nil {
		panic(fmt.Sprintf("prepare webhooks: %v", err)) // the kinds of the library itself
	}
	standards, err := podsecurity.New(objects, s.standards)
	if err != nil {
		panic(fmt.Sprintf("prepare pod security: %v", err)) // Load has checked the configuration
	}
	return append(admission.Default(objects),
		standards,
		admission.Escalation{RBAC: roles, May: may},
		admission.CertificateRequests{May: may},
		admission.ResourceClaims{Objects: objects, May: may},
		policy.Access{Objects: objects, May: may},
		policy.NewMutating(objects, may, s.api.TypeConverter),
		webhook.NewMutating(caller),
		policy.NewValidating(objects, may),
		webhook.NewValidating(caller),
		s.quotas,
	)
}
