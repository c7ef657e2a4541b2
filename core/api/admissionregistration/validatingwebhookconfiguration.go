package admissionregistration

import (
	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gantryio/gantry/core/api"
)

// ValidatingWebhookConfigurations is all that the server, the printer and the docs know of ValidatingWebhookConfiguration.
var ValidatingWebhookConfigurations = api.Kind[admissionv1.ValidatingWebhookConfiguration]{
	Group: group, Version: "v1", Name: "ValidatingWebhookConfiguration", Plural: "validatingwebhookconfigurations",
	Earlier:    []string{"admissionregistration.k8s.io/v1beta1"},
	Categories: []string{"api-extensions"},
	Generation: true, UnconditionalUpdateForbidden: true,
	Default: func(c *admissionv1.ValidatingWebhookConfiguration) {
		for i := range c.Webhooks {
			w := &c.Webhooks[i]
			defaultWebhook(&w.FailurePolicy, &w.MatchPolicy, &w.NamespaceSelector, &w.ObjectSelector, &w.TimeoutSeconds, &w.ClientConfig, w.Rules)
		}
	},
	Validate: func(c, old *admissionv1.ValidatingWebhookConfiguration) field.ErrorList {
		return validateWebhooks(allAsMutating(c), allAsMutating(old), old == nil)
	},
	Columns: []api.Column[admissionv1.ValidatingWebhookConfiguration]{
		api.NameColumn[admissionv1.ValidatingWebhookConfiguration](),
		{Name: "Webhooks", Type: "integer", Description: "How many webhooks there are in this configuration.", Cell: func(c *admissionv1.ValidatingWebhookConfiguration) any {
			return int64(len(c.Webhooks))
		}},
		api.AgeColumn[admissionv1.ValidatingWebhookConfiguration](),
	},
}
