package apiserver

import (
	"bufio"
	"maps"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// figures are what dashboards know of API servers, by the names, labels and buckets that kube-apiserver has. What was counted before is
// found by one look into a map, for finding it by its labels costs more than counting.
type figures struct {
	total                      *prometheus.CounterVec
	duration, sli, size        *prometheus.HistogramVec
	running, deprecated        *prometheus.GaugeVec
	events                     *prometheus.CounterVec
	eventSizes, listing        *prometheus.HistogramVec
	storeDuration              *prometheus.HistogramVec
	storeRequests, storeErrors *prometheus.CounterVec
	requests                   known[requestKey, requestFigures]
	watches                    known[watchKey, watchFigures]
	storing                    known[storeKey, storeFigures]
}

// requestKey is what requests are told apart by.
type requestKey struct {
	verb, group, version, resource, subresource, scope, component string
	dryRun                                                        bool
}

type requestFigures struct {
	key                 requestKey
	duration, sli, size prometheus.Observer
	codes               known[int, prometheus.Counter]
}

type watchKey struct{ group, version, resource string }

type watchFigures struct {
	events prometheus.Counter
	sizes  prometheus.Observer
}

type storeKey struct{ operation, group, resource string }

type storeFigures struct {
	duration         prometheus.Observer
	requests, errors prometheus.Counter
}

// known remembers what was made for keys. It never forgets, and so keys must be bounded.
type known[K comparable, V any] struct{ made atomic.Pointer[map[K]*V] }

func (k *known[K, V]) of(key K, make func(K) *V) *V {
	have := k.made.Load()
	if have != nil {
		if v := (*have)[key]; v != nil {
			return v
		}
	}
	v, next := make(key), map[K]*V{}
	if have != nil {
		next = maps.Clone(*have)
	}
	next[key] = v
	k.made.CompareAndSwap(have, &next) // whoever has lost does it the next time
	return v
}

// The buckets of durations that Kubernetes has, in seconds.
var (
	quick = []float64{0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60}
	slow  = quick[2:]
)

func newFigures() *figures {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
	}
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
	}
	kind := []string{"group", "version", "resource"}
	what := append([]string{"verb"}, append(kind[:3:3], "subresource", "scope", "component")...)
	dry := append([]string{"dry_run"}, what...)
	stored := []string{"operation", "group", "resource"}
	return &figures{
		total:      counter("apiserver_request_total", "Requests for resources, by what they ask for and the code of the answer.", append(dry[:len(dry):len(dry)], "code")...),
		duration:   histogram("apiserver_request_duration_seconds", "How long requests for resources took.", quick, dry...),
		sli:        histogram("apiserver_request_sli_duration_seconds", "How long requests took that are neither watches nor connections, webhooks included.", slow, what...),
		size:       histogram("apiserver_response_sizes", "Sizes of the answers to reads, in bytes.", prometheus.ExponentialBuckets(1000, 10, 7), what...),
		running:    gauge("apiserver_longrunning_requests", "Watches and connections that there are.", what...),
		deprecated: gauge("apiserver_requested_deprecated_apis", "Deprecated APIs that were asked for.", append(kind[:3:3], "subresource", "removed_release")...),
		events:     counter("apiserver_watch_events_total", "Events sent to watches.", kind...),
		eventSizes: histogram("apiserver_watch_events_sizes", "Sizes of the events sent to watches, in bytes.", prometheus.ExponentialBuckets(1024, 2, 8), kind...),
		listing: histogram("apiserver_watch_list_duration_seconds", "How long watches took that list first, until the list was sent.",
			append(slow[:len(slow):len(slow)], 90, 120, 180, 300), append(kind[:3:3], "scope")...),
		storeDuration: histogram("etcd_request_duration_seconds", "How long writes to etcd took.", quick, stored...),
		storeRequests: counter("etcd_requests_total", "Writes to etcd.", stored...),
		storeErrors:   counter("etcd_request_errors_total", "Writes to etcd that failed, for conflicts too.", stored...),
	}
}

func (f *figures) collectors() []prometheus.Collector {
	return []prometheus.Collector{
		f.total, f.duration, f.sli, f.size, f.running, f.deprecated, f.events, f.eventSizes, f.listing, f.storeDuration, f.storeRequests, f.storeErrors,
	}
}

// labels are those of the key in the order of the vectors, without dry_run.
func (k *requestKey) labels() []string {
	return []string{k.verb, k.group, k.version, k.resource, k.subresource, k.scope, k.component}
}

func (k *requestKey) dryRunLabels() []string {
	dry := ""
	if k.dryRun {
		dry = "All"
	}
	return append([]string{dry}, k.labels()...)
}

func (f *figures) request(key requestKey) *requestFigures {
	return f.requests.of(key, func(key requestKey) *requestFigures {
		out := &requestFigures{key: key, duration: f.duration.WithLabelValues(key.dryRunLabels()...)}
		if key.verb != "WATCH" && key.verb != "CONNECT" {
			out.sli = f.sli.WithLabelValues(key.labels()...)
		}
		if key.verb == "GET" || key.verb == "LIST" {
			out.size = f.size.WithLabelValues(key.labels()...)
		}
		return out
	})
}

// ended counts a request whose answer is written.
func (f *figures) ended(key requestKey, r *reply, begun time.Time) {
	one, took := f.request(key), time.Since(begun).Seconds()
	code := r.code
	if code == 0 {
		code = http.StatusOK
	}
	(*one.codes.of(code, func(code int) *prometheus.Counter {
		counter := f.total.WithLabelValues(append(one.key.dryRunLabels(), strconv.Itoa(code))...)
		return &counter
	})).Inc()
	one.duration.Observe(took)
	if one.sli != nil {
		one.sli.Observe(took)
	}
	if one.size != nil {
		one.size.Observe(float64(r.size))
	}
}

// count counts a call that is over.
func (s *Server) count(c *call, begun time.Time) { s.figures.ended(c.key(), &c.reply, begun) }

// lasting counts a request that takes long, until the result is called.
func (f *figures) lasting(key requestKey) (ended func()) {
	g := f.running.WithLabelValues(key.labels()...)
	g.Inc()
	return g.Dec
}

func (f *figures) watch(group, version, resource string) *watchFigures {
	return f.watches.of(watchKey{group, version, resource}, func(k watchKey) *watchFigures {
		return &watchFigures{f.events.WithLabelValues(k.group, k.version, k.resource), f.eventSizes.WithLabelValues(k.group, k.version, k.resource)}
	})
}

// stored counts a write to the store.
func (f *figures) stored(operation, group, resource string, begun time.Time, err error) {
	one := f.storing.of(storeKey{operation, group, resource}, func(k storeKey) *storeFigures {
		return &storeFigures{
			f.storeDuration.WithLabelValues(k.operation, k.group, k.resource),
			f.storeRequests.WithLabelValues(k.operation, k.group, k.resource), f.storeErrors.WithLabelValues(k.operation, k.group, k.resource),
		}
	})
	one.duration.Observe(time.Since(begun).Seconds())
	one.requests.Inc()
	if err != nil {
		one.errors.Inc()
	}
}

// reply is the writer of an answer, and remembers how it was.
type reply struct {
	http.ResponseWriter
	code, size int
}

var (
	_ http.Flusher  = (*reply)(nil)
	_ http.Hijacker = (*reply)(nil)
)

// Unwrap is for http.ResponseController.
func (r *reply) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (r *reply) WriteHeader(code int) {
	if r.code == 0 && (code >= http.StatusOK || code == http.StatusSwitchingProtocols) {
		r.code = code
	}
	r.ResponseWriter.WriteHeader(code)
}

// Write implements http.ResponseWriter.
func (r *reply) Write(data []byte) (int, error) {
	n, err := r.ResponseWriter.Write(data)
	r.size += n
	return n, err
}

// Flush implements http.Flusher.
func (r *reply) Flush() { _ = http.NewResponseController(r.ResponseWriter).Flush() }

// Hijack implements http.Hijacker.
func (r *reply) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if r.code == 0 {
		r.code = http.StatusSwitchingProtocols
	}
	return http.NewResponseController(r.ResponseWriter).Hijack()
}

// key is what the call is counted as, in the words of kube-apiserver.
func (c *call) key() requestKey {
	q, spoken := c.q, c.q.Spoken()
	k := requestKey{
		verb: c.req.Method, group: spoken.Group, version: spoken.Version, resource: spoken.Plural, subresource: q.Subresource,
		scope: "cluster", component: "apiserver", dryRun: q.DryRun,
	}
	switch {
	case q.Name != "" || c.verb == "create":
		k.scope = "resource"
	case q.Namespace != "":
		k.scope = "namespace"
	}
	switch {
	case c.connects():
		k.verb = "CONNECT"
	case c.verb == "watch":
		k.verb = "WATCH"
	case c.verb == "list":
		k.verb = "LIST"
	case c.verb == "get":
		k.verb = http.MethodGet
	case c.verb == "patch" && applies(contentType(c.req)):
		k.verb = "APPLY"
	}
	return k
}
