package webhook

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	admissionreviewv1 "k8s.io/api/admission/v1"
	upstream "k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/plugin/webhook/generic"
	"k8s.io/apiserver/pkg/admission/plugin/webhook/request"
	auditapi "k8s.io/apiserver/pkg/apis/audit"

	"github.com/gantryio/gantry/core/admission"
)

// The beginnings of the keys under which the audit log tells what webhooks have done, as in kube-apiserver.
const (
	notedMutation = "mutation.webhook.admission.k8s.io/"
	notedPatch    = "patch.webhook.admission.k8s.io/"
	notedFailure  = "failed-open."
	notedChecking = "validating.webhook.admission.k8s.io/"
)

// notes are what the audit log is told of asking one webhook; nil where the request is not recorded.
type notes struct {
	attr     upstream.Attributes
	hook     *generic.WebhookInvocation
	mutating bool
	where    string // in which round, as which of all webhooks
}

func newNotes(ctx context.Context, hook *generic.WebhookInvocation, attr *upstream.VersionedAttributes, again bool, index int) *notes {
	if !admission.Recorded(ctx) {
		return nil
	}
	round := 0
	if again {
		round = 1
	}
	_, mutating := hook.Webhook.GetMutatingWebhook()
	return &notes{attr: attr.Attributes, hook: hook, mutating: mutating, where: fmt.Sprintf("round_%d_index_%d", round, index)}
}

// of notes what the webhook itself wants to be noted.
func (n *notes) of(result *request.AdmissionResponse) {
	if n == nil || result == nil {
		return
	}
	for key, value := range result.AuditAnnotations {
		n.add(n.hook.Webhook.GetName()+"/"+key, value, auditapi.LevelMetadata)
	}
}

func (n *notes) mutation(changed bool) {
	if n != nil {
		n.addJSON(notedMutation, auditapi.LevelMetadata, struct {
			Configuration string `json:"configuration"`
			Webhook       string `json:"webhook"`
			Mutated       bool   `json:"mutated"`
		}{n.hook.Webhook.GetConfigurationName(), n.hook.Webhook.GetName(), changed})
	}
}

// patch notes what was changed, for those levels that show objects.
func (n *notes) patch(p jsonpatch.Patch) {
	if n != nil {
		n.addJSON(notedPatch, auditapi.LevelRequest, struct {
			Configuration string          `json:"configuration"`
			Webhook       string          `json:"webhook"`
			Patch         jsonpatch.Patch `json:"patch,omitempty"`
			PatchType     string          `json:"patchType,omitempty"`
		}{n.hook.Webhook.GetConfigurationName(), n.hook.Webhook.GetName(), p, string(admissionreviewv1.PatchTypeJSONPatch)})
	}
}

// failedOpen notes that the webhook has failed, which it may.
func (n *notes) failedOpen() {
	if n == nil {
		return
	}
	prefix := notedFailure + notedChecking
	if n.mutating {
		prefix = notedFailure + notedMutation
	}
	n.add(prefix+n.where, n.hook.Webhook.GetName(), auditapi.LevelMetadata)
}

func (n *notes) addJSON(prefix string, level auditapi.Level, value any) {
	data, err := json.Marshal(value)
	if err == nil {
		n.add(prefix+n.where, string(data), level)
	}
}

func (n *notes) add(key, value string, level auditapi.Level) {
	if err := n.attr.AddAnnotationWithLevel(key, value, level); err != nil {
		slog.Warn("cannot note for the audit log what a webhook has done", "webhook", n.hook.Webhook.GetName(), "key", key, "err", err)
	}
}
