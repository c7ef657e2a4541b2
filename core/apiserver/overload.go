package apiserver

import (
	"context"
	"errors"
	"math"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/endpoints/request"

	"github.com/gantryio/gantry/core/admission"
	"github.com/gantryio/gantry/core/apiserver/fairness"
	"github.com/gantryio/gantry/core/auth"
	"github.com/gantryio/gantry/core/cache"
	"github.com/gantryio/gantry/core/turns"
)

const (
	// The headers by which a client learns how its request was classified, in the form in which they are sent.
	schemaHeader = "X-Kubernetes-Pf-Flowschema-Uid"
	levelHeader  = "X-Kubernetes-Pf-Prioritylevel-Uid"

	// waitTime is how long a request waits at most before it is executed: as in Kubernetes, a quarter of what it may take.
	waitTime = requestTime / 4
	// mostRetryAfter is the longest time, in seconds, that a client is told to wait.
	mostRetryAfter = 32
	// mostCounted is how many objects a list is counted to have: what is more makes no difference.
	mostCounted = 1000
	// inFlightPerCPU is how many requests are executed at a time for each CPU unless something else is asked for. With more of them a
	// quiet client's request stands in the CPUs' queue behind those of a flooding one, where nothing is fair; with fewer, writes do
	// not fill etcd's batches.
	inFlightPerCPU = 32
	// refusalTime is how long a refusal is held back, so that who asks again at once is not answered at full speed.
	refusalTime = time.Second
	// mostRefusals is how many are held back at a time, for they take memory.
	mostRefusals = 2000
	// mostOwed is how many bytes of answers are written at a time without a seat.
	mostOwed = 64 << 20
)

// overload keeps clients from harming each other. Its objects are looked at by the first request after one of them has changed.
type overload struct {
	limiter *fairness.Limiter
	objects admission.Compiled[fairness.Limiter]

	refusals atomic.Int64 // that are held back
	owed     atomic.Int64 // bytes
}

func (o *overload) init(s *Server) {
	if s.MaxInFlight == 0 {
		s.MaxInFlight = inFlightPerCPU * runtime.GOMAXPROCS(0)
	}
	o.limiter = &fairness.Limiter{Seats: s.MaxInFlight, Patience: waitTime}
	o.objects = admission.Compiled[fairness.Limiter]{
		Objects: admission.Reader{Cache: s.Cache, Registry: s.Registry},
		Kinds:   []schema.GroupVersionResource{schemaKind, levelKind},
		Make: func(_ *fairness.Limiter, objects [][]*cache.Entry) *fairness.Limiter {
			o.limiter.Configure(flowObjects(objects[0], objects[1]))
			return o.limiter
		},
	}
}

// enter returns once a request may be executed; the ticket must be left. It answers those that may not, and returns false. Requests
// of this process are not limited: they come in with another function, or with limited false.
func (s *Server) enter(ctx context.Context, w http.ResponseWriter, limited bool, r *fairness.Request, v view) (fairness.Ticket, bool) {
	if !limited || r.User == nil {
		return fairness.Ticket{}, true
	}
	r.Crowded = turns.Crowded(ctx)
	ticket, headers, err := s.overload.objects.Now().Enter(ctx, r)
	h := w.Header()
	h[schemaHeader], h[levelHeader] = headers.Schema, headers.Level
	if err != nil {
		s.overload.holdBack(ctx)
		s.fail(w, v, tooMany(err))
		return ticket, false
	}
	return ticket, true
}

// holdBack waits before a refusal, unless many do so already.
func (o *overload) holdBack(ctx context.Context) {
	defer o.refusals.Add(-1)
	if o.refusals.Add(1) > mostRefusals {
		return
	}
	enough := time.NewTimer(refusalTime)
	defer enough.Stop()
	select {
	case <-enough.C:
	case <-ctx.Done():
	}
}

// written leaves the seat of a request whose answer has yet to be written: however slowly a client reads, it takes nobody's turn
// away. When many bytes are owed already, the seat is kept until the answer is written, so that they stay bounded.
func (c *call) written(size int) (done func()) {
	o := c.overload
	if o == nil {
		return func() {}
	}
	if o.owed.Add(int64(size)) <= mostOwed {
		c.ticket.Leave()
	}
	return func() { o.owed.Add(-int64(size)) }
}

func tooMany(err error) error {
	var refusal *fairness.Refusal
	if !errors.As(err, &refusal) {
		return err
	}
	seconds := int(math.Ceil(min(refusal.RetryAfter, mostRetryAfter*time.Second).Seconds()))
	return apierrors.NewTooManyRequests("too many requests, please try again later", max(1, seconds))
}

// enter is that of the server for a request for a resource. Connections to somebody else are not limited, as in Kubernetes.
func (c *call) enter(s *Server, w http.ResponseWriter, limited bool) bool {
	if c.connects() {
		return true
	}
	q, spoken := c.q, c.q.Spoken()
	r := fairness.Request{
		User: q.User, Verb: c.verb, Group: spoken.Group, Resource: spoken.Plural, Subresource: q.Subresource,
		Namespace: q.Namespace,
	}
	if q.Resource == s.namespaces() {
		r.Namespace = q.Name
	}
	if limited {
		c.overload, r.Objects = &s.overload, s.objectsRead(c)
	}
	var ok bool
	c.ticket, ok = s.enter(c.ctx, w, limited, &r, c.view)
	return ok
}

// objectsRead is about how many objects a request is sent, or looks at.
func (s *Server) objectsRead(c *call) int {
	switch c.verb {
	case "list", "deletecollection":
	case "watch":
		revision := c.query.Get("resourceVersion")
		if revision != "" && revision != "0" && !queryBool(c.query, "sendInitialEvents") {
			return 1
		}
	default:
		return 1
	}
	if c.q.Name != "" || c.q.Resource.Computed || strings.HasPrefix(c.query.Get("fieldSelector"), "metadata.name=") {
		return 1
	}
	most := mostCounted
	if limit, err := strconv.Atoi(c.query.Get("limit")); err == nil && limit > 0 {
		most = min(most, limit)
	}
	return s.Cache.Of(c.q.Resource).Count(c.q.Namespace, most)
}

// boundTime has a call read no more of its body once its time is up, and gives its answer a little time to be written then.
func boundTime(ctx context.Context, w http.ResponseWriter) {
	if end, ok := ctx.Deadline(); ok {
		control := http.NewResponseController(w)
		_ = control.SetReadDeadline(end)
		_ = control.SetWriteDeadline(end.Add(stallTime))
	}
}

// errBody tells of a body that could not be read.
func errBody(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return apierrors.NewTimeoutError("the body was not sent in time", 0)
	}
	return apierrors.NewBadRequest("read the body: " + err.Error())
}

// pathRequest describes a request without a resource.
func pathRequest(req *http.Request) *fairness.Request {
	return &fairness.Request{User: auth.UserOf(req.Context()), Verb: strings.ToLower(req.Method), Path: req.URL.Path}
}

// remoteRequest describes a request that is passed on.
func remoteRequest(req *http.Request, info *request.RequestInfo) *fairness.Request {
	if !info.IsResourceRequest {
		return pathRequest(req)
	}
	return &fairness.Request{
		User: auth.UserOf(req.Context()), Verb: info.Verb, Group: info.APIGroup, Resource: info.Resource, Subresource: info.Subresource,
		Namespace: info.Namespace,
	}
}

// serveDump answers /debug/api_priority_and_fairness/.
func (s *Server) serveDump(w http.ResponseWriter, name string) {
	if !s.overload.objects.Now().ServeDump(w, name) {
		s.fail(w, jsonView, errNoResource)
	}
}
