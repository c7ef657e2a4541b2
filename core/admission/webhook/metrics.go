package webhook

import (
	"context"
	"errors"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	upstream "k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/metrics"
	"k8s.io/apiserver/pkg/admission/plugin/webhook/generic"
	webhookutil "k8s.io/apiserver/pkg/util/webhook"
)

// The types of webhooks, as kube-apiserver's metrics call them.
const (
	typeMutating   = "admit"
	typeValidating = "validating"
)

// count tells the metrics of k8s.io/apiserver what came of asking a webhook: how long it took, whether the write was refused and by
// whom, and whether it was let through because the webhook may fail.
func count(ctx context.Context, one *generic.WebhookInvocation, attr upstream.Attributes, kind string, begin time.Time, err error) {
	m, name, took := metrics.Metrics, one.Webhook.GetName(), time.Since(begin)
	rejection := func(cause metrics.WebhookRejectionErrorType, code int) {
		m.ObserveWebhookRejection(ctx, name, kind, string(attr.GetOperation()), cause, code)
	}
	var failure *webhookutil.ErrCallingWebhook
	var refusal *webhookutil.ErrWebhookRejection
	switch {
	case err == nil:
		m.ObserveWebhook(ctx, name, took, false, attr, kind, 200)
	case errors.As(err, &failure):
		code := 0
		if failure.Status != nil {
			code = int(failure.Status.ErrStatus.Code)
		}
		open := one.Webhook.GetFailurePolicy() != nil && *one.Webhook.GetFailurePolicy() == admissionv1.Ignore
		if open {
			m.ObserveWebhookFailOpen(ctx, name, kind)
		} else {
			rejection(metrics.WebhookRejectionCallingWebhookError, code)
		}
		m.ObserveWebhook(ctx, name, took, !open, attr, kind, code)
	case errors.As(err, &refusal):
		code := int(refusal.Status.ErrStatus.Code)
		rejection(metrics.WebhookRejectionNoError, code)
		m.ObserveWebhook(ctx, name, took, true, attr, kind, code)
	default:
		rejection(metrics.WebhookRejectionAPIServerInternalError, 0)
		m.ObserveWebhook(ctx, name, took, true, attr, kind, 0)
	}
}
