package apiserver

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	auditapi "k8s.io/apiserver/pkg/apis/audit"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/apiserver/auditlog"
	"github.com/gantryio/gantry/core/cache"
)

// Recorded are the verbs of a server for the parts of its process, which do not come over HTTP. What they write is recorded as if
// they did: the address is the loopback's and the user agent their field manager. Their reads are not seen by the server, and nobody
// has to allow what they do. It needs [Server.Audit].
type Recorded struct{ *Server }

// recording is a write that is being recorded.
type recording struct {
	*auditlog.Record
	q *api.Request
}

// begin begins the record of a write.
func (s Recorded) begin(ctx context.Context, q *api.Request, verb, method string) (context.Context, recording, error) {
	r, path, namespace := q.Spoken(), pathOf(q, verb == "create"), q.Namespace
	if q.Resource == s.namespaces() {
		namespace = q.Name
	}
	req := (&http.Request{
		Method: method, URL: &url.URL{Path: path}, RemoteAddr: "127.0.0.1:0", Header: http.Header{"User-Agent": {"gantry/" + q.Manager}},
	}).WithContext(ctx)
	if q.DryRun {
		req.URL.RawQuery = "dryRun=" + metav1.DryRunAll
	}
	ctx, record, err := s.Audit.Begin(req, auditlog.ID(req), &authorizer.AttributesRecord{
		User: q.User, Verb: verb, Namespace: namespace, APIGroup: r.Group, APIVersion: r.Version, Resource: r.Plural,
		Subresource: q.Subresource, Name: q.Name, ResourceRequest: true, Path: path,
	}, false)
	if err == nil && record != nil {
		err = record.Received(ctx)
	}
	if err != nil {
		return ctx, recording{}, apierrors.NewInternalError(err)
	}
	return ctx, recording{record, q}, nil
}

// pathOf is where a request over HTTP would have gone to.
func pathOf(q *api.Request, create bool) string {
	r := q.Spoken()
	parts := []string{"/apis", r.Group, r.Version}
	if r.Group == "" {
		parts = []string{"/api", r.Version}
	}
	if q.Namespace != "" {
		parts = append(parts, "namespaces", q.Namespace)
	}
	parts = append(parts, r.Plural)
	if !create || q.Subresource != "" {
		parts = append(parts, q.Name)
	}
	if q.Subresource != "" {
		parts = append(parts, q.Subresource)
	}
	return strings.Join(parts, "/")
}

// requested records an object, which may lack its type.
func (r recording) requested(ctx context.Context, obj runtime.Object) {
	if r.Record == nil {
		return
	}
	r.Requested(ctx, obj, r.q.Spoken().GroupVersionResource(), r.q.Subresource, func(obj runtime.Object) ([]byte, error) {
		if kinds, _, err := scheme.Scheme.ObjectKinds(obj); err == nil {
			obj = obj.DeepCopyObject()
			obj.GetObjectKind().SetGroupVersionKind(kinds[0])
		}
		return encodeJSON(obj)
	})
}

// ended records what came of it: an error, or an object.
func (r recording) ended(code int32, obj runtime.Object, err error) {
	switch {
	case r.Record == nil:
	case err != nil:
		body := statusOf(err)
		answered(r.Record, &body, func() ([]byte, error) { return encodeJSON(&body) })
	default:
		// The code is all that an answer without a Status has.
		told, _ := obj.(*metav1.Status)
		if told == nil {
			told = &metav1.Status{}
		}
		told = told.DeepCopy()
		told.Code = code
		answered(r.Record, told, func() ([]byte, error) { return encodeJSON(obj) })
	}
}

// entry is [recording.ended] for what the verbs return.
func (r recording) entry(code int32, e *cache.Entry, err error) {
	var obj runtime.Object
	if e != nil {
		obj = e.Object
	}
	r.ended(code, obj, err)
}

// Create is [Server.Create].
func (s Recorded) Create(ctx context.Context, q *api.Request, obj api.Object) (*cache.Entry, error) {
	ctx, r, err := s.begin(ctx, q, "create", http.MethodPost)
	if err != nil {
		return nil, err
	}
	defer r.End(ctx)
	r.requested(ctx, obj)
	e, err := s.Server.Create(ctx, q, obj)
	r.entry(http.StatusCreated, e, err)
	return e, err
}

// Update is [Server.Update].
func (s Recorded) Update(ctx context.Context, q *api.Request, obj api.Object) (*cache.Entry, bool, error) {
	ctx, r, err := s.begin(ctx, q, "update", http.MethodPut)
	if err != nil {
		return nil, false, err
	}
	defer r.End(ctx)
	r.requested(ctx, obj)
	e, created, err := s.Server.Update(ctx, q, obj)
	r.entry(int32(okOrCreated(created)), e, err)
	return e, created, err
}

// Patch is [Server.Patch].
func (s Recorded) Patch(ctx context.Context, q *api.Request, p api.Patch) (*cache.Entry, bool, error) {
	ctx, r, err := s.begin(ctx, q, "patch", http.MethodPatch)
	if err != nil {
		return nil, false, err
	}
	defer r.End(ctx)
	if r.Wants(auditapi.LevelRequest) {
		r.Patched(patchJSON(&p))
	}
	e, created, err := s.Server.Patch(ctx, q, p)
	r.entry(int32(okOrCreated(created)), e, err)
	return e, created, err
}

// Delete is [Server.Delete].
func (s Recorded) Delete(ctx context.Context, q *api.Request, opts *metav1.DeleteOptions) (*cache.Entry, bool, error) {
	ctx, r, err := s.begin(ctx, q, "delete", http.MethodDelete)
	if err != nil {
		return nil, false, err
	}
	defer r.End(ctx)
	if opts != nil {
		r.requested(ctx, opts)
	}
	e, gone, err := s.Server.Delete(ctx, q, opts)
	r.entry(http.StatusOK, e, err)
	return e, gone, err
}

// RunSubresource is [Server.RunSubresource].
func (s Recorded) RunSubresource(ctx context.Context, q *api.Request, obj runtime.Object) (runtime.Object, error) {
	verb, method, code := "create", http.MethodPost, int32(http.StatusCreated)
	if q.Subresource == "scale" || q.Subresource == "finalize" {
		verb, method, code = "update", http.MethodPut, http.StatusOK
	}
	ctx, r, err := s.begin(ctx, q, verb, method)
	if err != nil {
		return nil, err
	}
	defer r.End(ctx)
	r.requested(ctx, obj)
	out, err := s.Server.RunSubresource(ctx, q, obj)
	r.ended(code, out, err)
	return out, err
}
