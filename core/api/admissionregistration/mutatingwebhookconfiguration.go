package admissionregistration

import (
	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api"
)

// MutatingWebhookConfigurations is all that the server, the printer and the docs know of MutatingWebhookConfiguration.
var MutatingWebhookConfigurations = api.Kind[admissionv1.MutatingWebhookConfiguration]{
	Group: group, Version: "v1", Name: "MutatingWebhookConfiguration", Plural: "mutatingwebhookconfigurations",
	Earlier:    []string{"admissionregistration.k8s.io/v1beta1"},
	Categories: []string{"api-extensions"},
	Generation: true, UnconditionalUpdateForbidden: true,
	Default: func(c *admissionv1.MutatingWebhookConfiguration) {
		for i := range c.Webhooks {
			w := &c.Webhooks[i]
			defaultWebhook(&w.FailurePolicy, &w.MatchPolicy, &w.NamespaceSelector, &w.ObjectSelector, &w.TimeoutSeconds, &w.ClientConfig, w.Rules)
			setDefault(&w.ReinvocationPolicy, admissionv1.NeverReinvocationPolicy)
		}
	},
	Validate: func(c, old *admissionv1.MutatingWebhookConfiguration) field.ErrorList {
		if old == nil {
			return validateWebhooks(c.Webhooks, nil, true)
		}
		return validateWebhooks(c.Webhooks, old.Webhooks, false)
	},
	Columns: []api.Column[admissionv1.MutatingWebhookConfiguration]{
		api.NameColumn[admissionv1.MutatingWebhookConfiguration](),
		{Name: "Webhooks", Type: "integer", Description: "How many webhooks there are in this configuration.", Cell: func(c *admissionv1.MutatingWebhookConfiguration) any {
			return int64(len(c.Webhooks))
		}},
		api.AgeColumn[admissionv1.MutatingWebhookConfiguration](),
	},
}
