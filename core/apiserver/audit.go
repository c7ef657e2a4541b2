package apiserver

import (
	"context"
	"errors"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	auditapi "k8s.io/apiserver/pkg/apis/audit"
	"k8s.io/apiserver/pkg/audit"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/gantryio/gantry/core/apiserver/auditlog"
	"github.com/gantryio/gantry/core/auth"
)

// nobody is who asks for what needs no credentials without giving any.
var nobody = &user.DefaultInfo{Name: user.Anonymous, Groups: []string{user.AllUnauthenticated}}

// serveRecorded serves a request, of whose sender failed tells that it is not known, and records it.
func (s *Server) serveRecorded(w http.ResponseWriter, req *http.Request, who user.Info, failed error) {
	refused := failed != nil && !open(req.URL.Path)
	if failed != nil && !refused {
		who = nobody
	}
	w, req, record, err := s.record(w, req, who, refused)
	if err == nil && !refused && record != nil {
		defer record.End(req.Context())
		err = record.Received(req.Context())
	}
	if err != nil {
		http.Error(w, "Internal Server Error: "+err.Error(), http.StatusInternalServerError)
		return
	}
	s.serveFrom(w, req, who, failed)
}

// record begins the record of a request, nil when nothing is to be recorded. One that is refused for its credentials is recorded
// only when its answer begins.
func (s *Server) record(w http.ResponseWriter, req *http.Request, who user.Info, refused bool) (http.ResponseWriter, *http.Request, *auditlog.Record, error) {
	id := auditlog.ID(req)
	w.Header().Set(auditapi.HeaderAuditID, id)
	info, err := remoteRequests.NewRequestInfo(req)
	if err != nil {
		return w, req, nil, err
	}
	attributes := remoteAttributes(req, info)
	attributes.User = who
	ctx, record, err := s.Audit.Begin(req, id, attributes, refused || lasting(req, info))
	if err != nil || record == nil {
		return w, req, nil, err
	}
	return record.Writer(w), req.WithContext(ctx), record, nil
}

// routeLoopback routes a request of this process.
func (s *Server) routeLoopback(w http.ResponseWriter, req *http.Request) {
	if s.Audit != nil {
		var record *auditlog.Record
		var err error
		w, req, record, err = s.record(w, req, auth.UserOf(req.Context()), false)
		if err == nil && record != nil {
			defer record.End(req.Context())
			err = record.Received(req.Context())
		}
		if err != nil {
			s.fail(w, jsonView, apierrors.NewInternalError(err))
			return
		}
	}
	s.route(w, req, false)
}

// recordOf is the record that an answer belongs to, nil when there is none.
func (s *Server) recordOf(w http.ResponseWriter) *auditlog.Record {
	if s.Audit == nil {
		return nil
	}
	return auditlog.Of(w)
}

// recordDecision notes what the authorizer has said.
func recordDecision(ctx context.Context, allowed bool, reason string, err error) {
	const decided, because = "authorization.k8s.io/decision", "authorization.k8s.io/reason"
	switch {
	case allowed:
		audit.AddAuditAnnotations(ctx, decided, "allow", because, reason)
	case err != nil:
		audit.AddAuditAnnotation(ctx, because, "internal error")
	default:
		audit.AddAuditAnnotations(ctx, decided, "forbid", because, reason)
	}
}

// requested records the object that a request has sent.
func (c *call) requested(obj runtime.Object) {
	if c.record != nil {
		c.record.Requested(c.ctx, obj, c.q.Spoken().GroupVersionResource(), c.q.Subresource, encodeJSON)
	}
}

func encodeJSON(obj runtime.Object) ([]byte, error) { return encode(jsonView, obj) }

// recorded is the view as the audit log has it.
func (v view) recorded() view { return view{format: typeJSON, as: v.as} }

// answered records an answer whose object in JSON is made only when it is wanted.
func answered(record *auditlog.Record, status *metav1.Status, object func() ([]byte, error)) {
	if !record.Wants(auditapi.LevelRequestResponse) {
		record.Answered(status, nil)
		return
	}
	data, err := object()
	if err != nil {
		data = nil // the client is told of it
	}
	record.Answered(status, data)
}

// statusOf is an error as clients are told of it.
func statusOf(err error) metav1.Status {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		status = apierrors.NewInternalError(err)
	}
	body := status.Status()
	body.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}
	return body
}
