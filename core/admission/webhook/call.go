package webhook

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	upstream "k8s.io/apiserver/pkg/admission"
	webhookerrors "k8s.io/apiserver/pkg/admission/plugin/webhook/errors"
	"k8s.io/apiserver/pkg/admission/plugin/webhook/generic"
	"k8s.io/apiserver/pkg/admission/plugin/webhook/request"
	webhookutil "k8s.io/apiserver/pkg/util/webhook"
	"k8s.io/client-go/rest"
)

// maxAnswer bounds what is read of an answer. The largest request is 3 MiB, and a patch of all of it is less than this in base64.
const maxAnswer = 16 << 20

const defaultTimeout = 10 * time.Second

// call asks one webhook and returns its answer when that lets the write through.
func (c *Caller) call(ctx context.Context, in *generic.WebhookInvocation, attr *upstream.VersionedAttributes, mutating bool) (*request.AdmissionResponse, error) {
	h := in.Webhook
	if attr.IsDryRun() {
		side := h.GetSideEffects()
		if side == nil || *side != admissionv1.SideEffectClassNone && *side != admissionv1.SideEffectClassNoneOnDryRun {
			return nil, webhookerrors.NewDryRunUnsupportedErr(h.GetName())
		}
	}
	failed := func(status *apierrors.StatusError, format string, err error) error {
		return &webhookutil.ErrCallingWebhook{WebhookName: h.GetName(), Reason: fmt.Errorf(format, err), Status: status}
	}
	uid, review, response, err := request.CreateAdmissionObjects(attr, in)
	if err != nil {
		return nil, failed(apierrors.NewBadRequest("error creating admission objects"), "could not create admission objects: %w", err)
	}
	client, err := h.GetRESTClient(&c.clients)
	if err != nil {
		return nil, failed(apierrors.NewInternalError(err), "could not get REST client: %w", err)
	}
	timeout := defaultTimeout
	if seconds := h.GetTimeoutSeconds(); seconds != nil {
		timeout = time.Duration(*seconds) * time.Second
	}
	if err := Post(ctx, client, review, response, timeout); err != nil {
		status := apierrors.NewServiceUnavailable("error calling webhook")
		errors.As(err, &status)
		return nil, failed(status, "failed to call webhook: %w", err)
	}
	result, err := request.VerifyAdmissionResponse(uid, mutating, response)
	if err != nil {
		return nil, failed(apierrors.NewServiceUnavailable("error validating webhook response"), "received invalid webhook response: %w", err)
	}
	if !result.Allowed {
		return result, &webhookutil.ErrWebhookRejection{Status: webhookerrors.ToStatusErr(h.GetName(), result.Result)}
	}
	return result, nil
}

// judge turns the failure of a call into what the client is told, nil when the webhook may fail.
func judge(ctx context.Context, in *generic.WebhookInvocation, notes *notes, err error) error {
	var failure *webhookutil.ErrCallingWebhook
	var refusal *webhookutil.ErrWebhookRejection
	switch {
	case errors.As(err, &refusal):
		return refusal.Status
	case !errors.As(err, &failure):
		return err
	}
	policy := in.Webhook.GetFailurePolicy()
	if policy == nil || *policy != admissionv1.Ignore {
		return apierrors.NewInternalError(err)
	}
	notes.failedOpen()
	slog.Warn("a webhook failed that may fail", "configuration", in.Webhook.GetConfigurationName(), "webhook", in.Webhook.GetName(), "err", err)
	if ctx.Err() != nil {
		return errLate
	}
	return nil
}

var errLate = apierrors.NewTimeoutError("request did not complete within requested timeout", 0)

// Bounded makes clients that give no credentials away and read answers only as far as they can be sensible.
type Bounded struct{}

var _ webhookutil.AuthenticationInfoResolver = Bounded{}

// ClientConfigFor implements webhookutil.AuthenticationInfoResolver.
func (Bounded) ClientConfigFor(string) (*rest.Config, error) { return boundedConfig(), nil }

// ClientConfigForService implements webhookutil.AuthenticationInfoResolver.
func (Bounded) ClientConfigForService(string, string, int) (*rest.Config, error) {
	return boundedConfig(), nil
}

func boundedConfig() *rest.Config {
	return &rest.Config{
		WarningHandler: rest.NoWarnings{},
		WrapTransport:  func(next http.RoundTripper) http.RoundTripper { return bounded{next} },
	}
}

type bounded struct{ http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (b bounded) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := b.RoundTripper.RoundTrip(req)
	if err == nil && resp.Body != nil {
		resp.Body = &boundedBody{ReadCloser: resp.Body, left: maxAnswer}
	}
	return resp, err
}

type boundedBody struct {
	io.ReadCloser
	left int
}

// Read implements io.Reader.
func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errAnswerTooLarge
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

var errAnswerTooLarge = fmt.Errorf("the answer is larger than %d bytes", maxAnswer)

// Post sends a review to a webhook and reads the answer into response. It takes at most as long as the timeout and
// what ctx leaves, which the webhook is told in whole seconds.
func Post(ctx context.Context, client *rest.RESTClient, review, response runtime.Object, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	r := client.Post().Body(review)
	if deadline, ok := ctx.Deadline(); ok {
		if left := time.Until(deadline); left > 0 {
			r.Timeout((left + time.Second - 1).Truncate(time.Second))
		}
	}
	return r.Do(ctx).Into(response)
}
