package apiserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/validation/path"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/audit"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/apiserver/auditlog"
	"github.com/gantryio/gantry/core/apiserver/fairness"
	"github.com/gantryio/gantry/core/auth"
	"github.com/gantryio/gantry/core/lazy"
	"github.com/gantryio/gantry/core/turns"
)

// requestTime bounds every request that is no watch and no stream.
const requestTime = 60 * time.Second

// call is a request for a resource on its way through the server.
type call struct {
	ctx   context.Context
	req   *http.Request
	query url.Values
	verb  string
	q     *api.Request
	sub   *subHandler // nil for the object itself, its status and its scale
	view  view
	// ticket is left once the work is done; by watches, when they have begun.
	ticket   fairness.Ticket
	overload *overload // nil for requests that are not limited
	record   *auditlog.Record
	reply    reply
}

// chain is what every request goes through before its handler.
func (s *Server) chain() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		defer s.recovered(w, req)
		if s.Audit == nil && open(req.URL.Path) {
			s.serveOpen(w, req)
			return
		}
		who, err := s.Authenticator.Authenticate(req)
		if s.Audit != nil {
			s.serveRecorded(w, req, who, err)
			return
		}
		s.serveFrom(w, req, who, err)
	})
}

// serveFrom serves a request of who has sent it; failed tells that nobody knows who that is.
func (s *Server) serveFrom(w http.ResponseWriter, req *http.Request, who user.Info, failed error) {
	if open(req.URL.Path) {
		s.serveOpen(w, req)
		return
	}
	if failed != nil {
		s.fail(w, jsonView, apierrors.NewUnauthorized("Unauthorized"))
		return
	}
	req, err := auth.Impersonate(req, who, s.Authorizer)
	if err != nil {
		s.fail(w, jsonView, err)
		return
	}
	if s.Audit != nil && auth.Impersonates(req) {
		audit.LogImpersonatedUser(req.Context(), auth.UserOf(req.Context()), "")
	}
	s.route(w, req, true)
}

func (s *Server) recovered(w http.ResponseWriter, req *http.Request) {
	cause := recover()
	if cause == nil {
		return
	}
	if cause == http.ErrAbortHandler {
		panic(cause)
	}
	slog.Error("request panicked", "method", req.Method, "path", req.URL.Path, "cause", cause, "stack", string(debug.Stack()))
	s.recordOf(w).Panicked(cause)
	s.fail(w, jsonView, apierrors.NewInternalError(fmt.Errorf("%v", cause)))
}

// route finds who answers a path. Requests that are limited have to take their turn.
func (s *Server) route(w http.ResponseWriter, req *http.Request, limited bool) {
	path := strings.Trim(req.URL.Path, "/")
	parts := strings.Split(path, "/")
	if r := s.remoteOf(parts); r != nil {
		s.serveRemote(w, req, r, limited)
		return
	}
	resource := parts[0] == "api" && len(parts) > 2 || parts[0] == "apis" && len(parts) > 3
	if !resource {
		ticket, ok := s.enter(req.Context(), w, limited, pathRequest(req), jsonView)
		if !ok {
			return
		}
		defer ticket.Leave()
		if err := s.authorizePath(req); err != nil {
			s.fail(w, jsonView, err)
			return
		}
		s.servePath(w, req, path)
		return
	}
	c, err := s.newCall(req, parts)
	if c == nil && s.SyncDefinitions(req.Context()) {
		c, err = s.newCall(req, parts)
	}
	if c != nil {
		c.q.Warn = (&warnings{header: w.Header()}).add
		c.record = s.recordOf(w)
		c.reply.ResponseWriter = w
		w = &c.reply
		if c.verb != "" || c.asksOptions() {
			defer s.count(c, time.Now())
		}
	}
	if err == nil {
		if !c.enter(s, w, limited) {
			return
		}
		defer c.ticket.Leave()
		err = s.authorize(c)
	}
	if err != nil {
		s.fail(w, jsonView, err)
		return
	}
	if text := c.q.Spoken().Deprecated; text != "" {
		c.q.Warn(text)
		s.figures.deprecated.WithLabelValues(c.q.Spoken().Group, c.q.Spoken().Version, c.q.Spoken().Plural, c.q.Subresource, "").Set(1)
	}
	if c.verb == "watch" || c.connects() {
		turns.Lasts(c.ctx)
		defer s.figures.lasting(c.key())()
		s.serve(w, c)
		return
	}
	if c.verb == "get" && c.sub == nil && !c.q.Resource.Computed {
		s.serve(w, c) // which waits for nothing longer than revisionWait
		return
	}
	ctx := lazy.New(c.ctx, time.Now().Add(requestTime))
	defer ctx.End()
	if limited {
		boundTime(ctx, w)
	}
	c.ctx = ctx
	s.serve(w, c)
}

// newCall parses /api/v1/… and /apis/GROUP/VERSION/…; the call is returned with errors that come late.
func (s *Server) newCall(req *http.Request, parts []string) (*call, error) {
	gv := schema.GroupVersion{Version: parts[1]}
	rest := parts[2:]
	if parts[0] == "apis" {
		gv, rest = schema.GroupVersion{Group: parts[1], Version: parts[2]}, parts[3:]
	}
	q := &api.Request{User: auth.UserOf(req.Context())}
	if rest[0] == "namespaces" && len(rest) > 2 && !s.isSubresource(gv, rest[2]) {
		q.Namespace, rest = rest[1], rest[2:]
	}
	spoken := s.Registry.Resource(gv.WithResource(rest[0]))
	if spoken == nil || len(rest) > 3 && rest[2] != "proxy" || !spoken.Namespaced && q.Namespace != "" {
		return nil, errNoResource
	}
	if q.Resource = spoken.Stored(); q.Resource != spoken {
		q.Version = spoken
	}
	if len(rest) > 1 {
		q.Name = rest[1]
	}
	if len(rest) > 2 {
		q.Subresource = rest[2]
	}
	c := &call{ctx: req.Context(), req: req, q: q}
	if len(req.URL.RawQuery) > 0 {
		c.query = req.URL.Query()
	}
	return c, s.complete(c)
}

// connects tells that the call joins the client with somebody else.
func (c *call) connects() bool { return c.sub != nil && c.sub.connect != nil }

// asksOptions tells the one method that is proxied although it has no verb, as in Kubernetes.
func (c *call) asksOptions() bool {
	return c.q.Subresource == "proxy" && c.connects() && c.req.Method == http.MethodOptions
}

// isSubresource tells /namespaces/X/status from /namespaces/X/pods.
func (s *Server) isSubresource(gv schema.GroupVersion, word string) bool {
	return gv.Group == "" && (word == "status" || word == "finalize")
}

func (s *Server) complete(c *call) error {
	q, r := c.q, c.q.Resource
	if q.Subresource != "" && !r.HasPart(q.Subresource) && (q.Subresource != "scale" || !r.HasScale) {
		h, ok := s.subs[subresource{r.Group, r.Plural, q.Subresource}]
		if !ok {
			return errNoResource
		}
		c.sub = &h
	}
	if r.Namespaced && q.Namespace == "" && q.Name != "" {
		return errNoResource
	}
	c.verb = verbOf(c)
	q.Verb = c.verb
	if c.verb == "" && !c.asksOptions() || r.Question && c.verb != "create" || r.Computed && c.verb != "get" && c.verb != "list" {
		return apierrors.NewMethodNotSupported(r.GroupResource(), strings.ToLower(c.req.Method))
	}
	if c.connects() {
		return nil // the query is for whoever is connected
	}
	var err error
	if c.view, err = negotiate(c.req, q.Spoken().HasProtobuf || c.sub != nil, !r.Question); err != nil {
		return err
	}
	c.view.pretty = queryBool(c.query, "pretty")
	q.Manager = c.query.Get("fieldManager")
	q.AskedManager, q.AskedValidation = q.Manager, c.query.Get("fieldValidation")
	return c.writeOptions()
}

// applies tells the media types of server-side apply.
func applies(mediaType string) bool {
	return mediaType == string(types.ApplyYAMLPatchType) || mediaType == string(types.ApplyCBORPatchType)
}

// writeOptions reads what all writes have in common.
func (c *call) writeOptions() error {
	if c.query != nil {
		if err := checkWriteQuery(c); err != nil {
			return err
		}
		c.q.DryRun = len(c.query["dryRun"]) > 0
	}
	apply := c.req.Method == http.MethodPatch && applies(contentType(c.req))
	if c.q.Manager == "" && !apply {
		c.q.Manager = managerFromAgent(c.req.UserAgent())
	}
	return nil
}

// checkWriteQuery refuses bad options in the words of the library's validation.
func checkWriteQuery(c *call) error {
	dryRun, manager, strict := c.query["dryRun"], c.query.Get("fieldManager"), c.query.Get("fieldValidation")
	var kind string
	var errs field.ErrorList
	switch c.verb {
	case "create":
		kind = "CreateOptions"
		errs = validation.ValidateCreateOptions(&metav1.CreateOptions{DryRun: dryRun, FieldManager: manager, FieldValidation: strict})
	case "update":
		kind = "UpdateOptions"
		errs = validation.ValidateUpdateOptions(&metav1.UpdateOptions{DryRun: dryRun, FieldManager: manager, FieldValidation: strict})
	case "patch":
		kind = "PatchOptions"
		o := &metav1.PatchOptions{DryRun: dryRun, FieldManager: manager, FieldValidation: strict}
		if c.query.Has("force") {
			force := queryBool(c.query, "force")
			o.Force = &force
		}
		errs = validation.ValidatePatchOptions(o, types.PatchType(contentType(c.req)))
	case "delete", "deletecollection":
		kind = "DeleteOptions"
		errs = validation.ValidateDeleteOptions(&metav1.DeleteOptions{DryRun: dryRun})
	}
	if len(errs) > 0 {
		return apierrors.NewInvalid(metav1.SchemeGroupVersion.WithKind(kind).GroupKind(), "", errs)
	}
	return nil
}

func verbOf(c *call) string {
	named := c.q.Name != ""
	everywhere := c.q.Resource.Namespaced && c.q.Namespace == "" // all namespaces can only be read
	switch c.req.Method {
	case http.MethodGet, http.MethodHead:
		switch {
		case queryBool(c.query, "watch") && c.q.Subresource == "":
			return "watch"
		case named:
			return "get"
		}
		return "list"
	case http.MethodPost:
		if named && c.q.Subresource == "" || everywhere {
			return ""
		}
		return "create"
	case http.MethodPut:
		if named {
			return "update"
		}
	case http.MethodPatch:
		if named {
			return "patch"
		}
	case http.MethodDelete:
		if named && (c.q.Subresource == "" || c.connects()) {
			return "delete"
		}
		if !named && !everywhere {
			return "deletecollection"
		}
	}
	return ""
}

var errNoResource = &apierrors.StatusError{ErrStatus: metav1.Status{
	Status: metav1.StatusFailure, Code: http.StatusNotFound, Reason: metav1.StatusReasonNotFound,
	Message: "the server could not find the requested resource", Details: &metav1.StatusDetails{},
}}

func (s *Server) authorize(c *call) error {
	q, r := c.q, c.q.Resource
	a := &authorizer.AttributesRecord{
		User: q.User, Verb: c.verb, Namespace: q.Namespace, APIGroup: q.Spoken().Group, APIVersion: q.Spoken().Version,
		Resource: r.Plural, Subresource: q.Subresource, Name: q.Name, ResourceRequest: true, Path: c.req.URL.Path,
	}
	if r == s.namespaces() {
		a.Namespace = q.Name // as upstream: a namespace lies in itself
	}
	if text := c.query.Get("fieldSelector"); text != "" {
		if selector, err := fields.ParseSelector(text); err == nil {
			a.FieldSelectorRequirements = selector.Requirements()
			// As upstream: what lists or watches one object by its name may be allowed by resourceNames.
			name, exact := selector.RequiresExactMatch("metadata.name")
			if a.Name == "" && exact && len(path.IsValidPathSegmentName(name)) == 0 && slices.Contains([]string{"list", "watch", "deletecollection"}, c.verb) {
				a.Name = name
			}
		}
	}
	return s.allowed(c.ctx, a)
}

func (s *Server) namespaces() *api.Resource {
	return s.Registry.Resource(schema.GroupVersionResource{Version: "v1", Resource: "namespaces"})
}

func (s *Server) authorizePath(req *http.Request) error {
	return s.allowed(req.Context(), &authorizer.AttributesRecord{
		User: auth.UserOf(req.Context()), Verb: strings.ToLower(req.Method), Path: req.URL.Path,
	})
}

func (s *Server) allowed(ctx context.Context, a *authorizer.AttributesRecord) error {
	decision, reason, err := s.Authorizer.Authorize(ctx, a)
	if s.Audit != nil {
		recordDecision(ctx, err == nil && decision == authorizer.DecisionAllow, reason, err)
	}
	if err != nil {
		return apierrors.NewInternalError(err)
	}
	if decision == authorizer.DecisionAllow {
		return nil
	}
	return auth.Forbidden(a, reason)
}

// serve runs the verb.
func (s *Server) serve(w http.ResponseWriter, c *call) {
	switch {
	case c.sub != nil:
		s.serveSub(w, c)
	case c.q.Subresource == "scale":
		s.serveScale(w, c)
	case c.verb == "watch":
		s.serveWatch(w, c)
	case c.verb == "list":
		s.serveList(w, c)
	case c.verb == "get":
		entry, err := s.Get(c.ctx, c.q, c.query.Get("resourceVersion"))
		s.answer(w, c, http.StatusOK, entryOrError{entry, err})
	case c.verb == "create":
		s.serveCreate(w, c)
	case c.verb == "update":
		s.serveUpdate(w, c)
	case c.verb == "patch":
		s.servePatch(w, c)
	case c.verb == "delete":
		s.serveDelete(w, c)
	case c.verb == "deletecollection":
		s.serveDeleteCollection(w, c)
	default:
		s.fail(w, c.view, errors.New("no such verb: "+c.verb))
	}
}
