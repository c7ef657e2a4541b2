// Package apiserver serves the Kubernetes API over HTTP: routes, negotiation, verbs, patches, watches
// and discovery, from the watch cache and into the store.
//
// Every write goes one way: decode once, default, admit, prepare, validate, one transaction; its answer
// is the cache's entry, whose encodings all readers share. The parts that run in the server's process
// use the same verbs without HTTP (see [Server.Create] and its siblings).
package apiserver

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	webhookutil "k8s.io/apiserver/pkg/util/webhook"

	"github.com/gantryio/gantry/core/admission"
	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/apiserver/auditlog"
	"github.com/gantryio/gantry/core/apiserver/usage"
	"github.com/gantryio/gantry/core/auth"
	"github.com/gantryio/gantry/core/cache"
	"github.com/gantryio/gantry/core/store"
)

// Store is what the server needs of core/store.
type Store interface {
	Create(ctx context.Context, key string, value []byte, ttlSeconds int64) (int64, error)
	Update(ctx context.Context, key string, value []byte, revision, ttlSeconds int64) (int64, error)
	Delete(ctx context.Context, key string, revision int64) (int64, error)
	Commit(ctx context.Context, changes []store.Change) (int64, error)
}

// Server answers requests; its zero value with the exported fields set works after [Server.Init].
type Server struct {
	Registry      *api.Registry
	Store         Store
	Cache         *cache.Cache
	Authenticator auth.Authenticator
	Authorizer    authorizer.UnconditionalAuthorizer
	// Tokens issues the tokens of service accounts; nil issues none.
	Tokens *auth.Tokens
	// Issuers are others whose tokens are taken; nil for none.
	Issuers   TokenChecker
	Admission admission.Chain
	// Agents reaches the agents' HTTPS ports for logs, exec, attach and port-forward.
	Agents http.RoundTripper
	// Pods reaches what runs in pods, for the proxy subresources; connections are made directly when nil.
	Pods http.RoundTripper
	// FrontProxy and ClientCA, in PEM, are published for aggregated API servers: who passes requests on to them, and who signs
	// the certificates of clients. Without a FrontProxy they cannot tell who asks.
	FrontProxy *FrontProxy
	ClientCA   []byte
	// Dial connects to aggregated API servers; connections are made directly when nil.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// ServiceRange is where cluster IPs come from: that of the ServiceCIDR "kubernetes", beside which others may be made.
	ServiceRange netip.Prefix
	// NodePorts is the first and the last node port; 30000 to 32767 when zero.
	NodePorts [2]int32
	// OpenAPI serves /openapi/; nil serves nothing there.
	OpenAPI http.Handler
	// MaxInFlight is how many requests of others are executed at a time; when zero, by the number of CPUs.
	MaxInFlight int
	// GitVersion is what /version tells, such as v1.37.2+gantry.
	GitVersion string
	// Checks are run by the health paths, in order.
	Checks []Check
	// Components are the parts of the control plane that ComponentStatuses tell of.
	Components []Check
	// Audit records requests; nil records nothing, and costs nothing.
	Audit *auditlog.Log
	// Metrics are served beside the server's own.
	Metrics []prometheus.Collector
	// Figures are those of the libraries that the process uses, which are served as well; nil for none.
	Figures prometheus.Gatherer
	// StorageSize tells how many bytes the store's database has; nil tells nothing.
	StorageSize func(ctx context.Context) (int64, error)

	managed     managers
	discovery   atomic.Pointer[discovery]
	definitions definitions
	aggregation aggregation
	swagger     swagger
	conversions func() (*webhookutil.ClientManager, error) // made when the first definition needs it
	ports       *portAllocator
	subs        map[subresource]subHandler
	externals   admission.Chain // those of Admission that ask others
	admissions  sync.Map        // schema.GroupResource → *chains
	overload    overload
	meter       usage.Meter
	figures     *figures
	metrics     http.Handler
	handler     http.Handler
}

// Init prepares the server; the fields must not change afterwards.
func (s *Server) Init() {
	s.managed.init(s.Registry)
	s.overload.init(s)
	s.aggregation.remotes.Store(&remotes{})
	s.announce()
	if s.NodePorts == [2]int32{} {
		s.NodePorts = [2]int32{30000, 32767}
	}
	if s.Pods == nil {
		s.Pods = newPodTransport()
	}
	s.ports = newPortAllocator(s.NodePorts)
	s.subs = s.subresources()
	s.conversions = sync.OnceValues(func() (*webhookutil.ClientManager, error) { return newConversionClients(s) })
	s.externals = s.Admission.Externals()
	s.meter = usage.Meter{Agents: s.Agents, Address: agentAddress}
	s.figures = newFigures()
	s.metrics = s.metricsHandler()
	s.handler = s.chain()
}

// ServeHTTP serves the whole API.
func (s *Server) ServeHTTP(w http.ResponseWriter, req *http.Request) { s.handler.ServeHTTP(w, req) }
