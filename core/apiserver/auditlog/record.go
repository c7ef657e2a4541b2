package auditlog

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/uuid"
	auditapi "k8s.io/apiserver/pkg/apis/audit"
	"k8s.io/apiserver/pkg/audit"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

// slow is from when on it is noted how long a request took, as in Kubernetes.
const slow = 500 * time.Millisecond

// ErrNotStored: the event of a request could not be written, without which it may not be served.
var ErrNotStored = errors.New("failed to store audit event")

// Record is what is being recorded of one request. A nil Record records nothing.
type Record struct {
	audit  *audit.AuditContext
	config audit.RequestAuditConfig
	// lasting requests are recorded when their answer begins, too.
	lasting bool
	// guarded tells that messages may quote what only higher levels are to show.
	guarded bool
	begun   sync.Once
	cause   any // what serving it panicked with
}

// ID is what the sender calls a request, or a new name for it.
func ID(req *http.Request) string {
	if id := req.Header.Get(auditapi.HeaderAuditID); id != "" {
		return id
	}
	return string(uuid.NewUUID())
}

// Begin decides by the policy what is recorded of a request. The context that it returns is for whoever serves the request.
func (l *Log) Begin(req *http.Request, id string, a authorizer.Attributes, lasting bool) (context.Context, *Record, error) {
	ctx := req.Context()
	config := l.policy.EvaluatePolicyRule(a)
	audit.ObservePolicyLevel(ctx, config.Level)
	if config.Level == auditapi.LevelNone {
		return ctx, nil, nil
	}
	ctx = audit.WithAuditContext(ctx)
	audit.WithAuditID(ctx, types.UID(id))
	r := &Record{
		audit: audit.AuditContextFrom(ctx), config: config, lasting: lasting,
		guarded: config.Level == auditapi.LevelMetadata && confidential(a),
	}
	if err := r.audit.Init(config, l.backend); err != nil {
		return ctx, nil, err
	}
	audit.LogRequestMetadata(ctx, req, time.Now(), a)
	return ctx, r, nil
}

// confidential tells the resources of whose content messages about bad requests may quote a part.
func confidential(a authorizer.Attributes) bool {
	return a.IsResourceRequest() && (a.GetAPIGroup() == "" && a.GetResource() == "secrets" || a.GetSubresource() == "token" || a.GetResource() == "tokenreviews")
}

// Received records that the request has come. When it returns [ErrNotStored], the request must not be served.
func (r *Record) Received(ctx context.Context) error {
	if !r.audit.ProcessEventStage(ctx, auditapi.StageRequestReceived) {
		audit.ApiserverAuditDroppedCounter.WithContext(ctx).Inc()
		return ErrNotStored
	}
	return nil
}

// Wants tells that objects of requests are recorded, or those of answers, too.
func (r *Record) Wants(level auditapi.Level) bool {
	return r != nil && !r.config.Level.Less(level)
}

// Answered records an answer: its status, nil for one that is no Status, and, where it is wanted, the object in JSON.
func (r *Record) Answered(status *metav1.Status, object []byte) {
	if r == nil {
		return
	}
	if r.guarded && status != nil && quotes(status) {
		status = &metav1.Status{Status: status.Status, Reason: status.Reason, Code: status.Code}
	}
	var unknown *runtime.Unknown
	if object != nil && r.Wants(auditapi.LevelRequestResponse) {
		if r.config.OmitManagedFields {
			object = withoutManagedFields(object)
		}
		unknown = &runtime.Unknown{Raw: object, ContentType: runtime.ContentTypeJSON}
	}
	r.audit.LogResponseObject(status, unknown)
}

// quotes tells the errors that quote the request's body.
func quotes(s *metav1.Status) bool {
	return s.Reason == metav1.StatusReasonInvalid || s.Reason == metav1.StatusReasonBadRequest
}

// code records the status code of an answer that begins.
func (r *Record) code(code int) {
	r.begun.Do(func() {
		r.audit.SetEventResponseStatusCode(int32(code))
		if r.lasting {
			r.audit.ProcessEventStage(context.Background(), auditapi.StageResponseStarted)
		}
	})
}

// Panicked tells that serving the request has panicked. It is for those who recover from that.
func (r *Record) Panicked(cause any) {
	if r != nil {
		r.cause = cause
	}
}

// End records how the request ended; ctx is that of [Log.Begin]. It must be deferred itself: a panic that comes by is recorded, and
// goes on.
func (r *Record) End(ctx context.Context) {
	if r == nil {
		return
	}
	if cause := recover(); cause != nil {
		r.cause = cause
		defer panic(cause)
	}
	if r.cause != nil {
		r.audit.SetEventResponseStatus(&metav1.Status{
			Code: http.StatusInternalServerError, Status: metav1.StatusFailure, Reason: metav1.StatusReasonInternalError,
			Message: fmt.Sprintf("APIServer panic'd: %v", r.cause),
		})
		r.audit.ProcessEventStage(ctx, auditapi.StagePanic)
		return
	}
	if r.audit.GetEventResponseStatus() == nil {
		r.audit.SetEventResponseStatus(&metav1.Status{Code: http.StatusOK, Status: metav1.StatusSuccess, Message: "Connection closed early"})
		if r.lasting {
			r.audit.ProcessEventStage(ctx, auditapi.StageResponseStarted)
		}
	}
	if took := time.Since(r.audit.GetEventRequestReceivedTimestamp().Time); took > slow {
		audit.AddAuditAnnotation(ctx, "apiserver.latency.k8s.io/total", took.String())
	}
	r.audit.ProcessEventStage(ctx, auditapi.StageResponseComplete)
}
