package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/gantryio/gantry/core/admission"
	"github.com/gantryio/gantry/core/admission/podsecurity"
	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/api/all"
	"github.com/gantryio/gantry/core/api/openapi"
	"github.com/gantryio/gantry/core/apiserver"
	"github.com/gantryio/gantry/core/apiserver/auditlog"
	"github.com/gantryio/gantry/core/auth"
	"github.com/gantryio/gantry/core/auth/oidc"
	"github.com/gantryio/gantry/core/cache"
	"github.com/gantryio/gantry/core/client"
	"github.com/gantryio/gantry/core/client/workers"
	"github.com/gantryio/gantry/core/dns"
	"github.com/gantryio/gantry/core/h2"
	"github.com/gantryio/gantry/core/pki"
	"github.com/gantryio/gantry/core/pluginhost"
	"github.com/gantryio/gantry/core/run"
	"github.com/gantryio/gantry/core/scheduler"
	"github.com/gantryio/gantry/core/store"
	"github.com/gantryio/gantry/core/upgrade"
)

func newServerCommand() *cobra.Command {
	c := &config{}
	cmd := &cobra.Command{
		Use: "server", Short: "Run the API server, the controllers and the scheduler", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.complete(); err != nil {
				return err
			}
			s, err := newServer(cmd.Context(), c)
			if err != nil {
				return err
			}
			defer s.close()
			if err := s.listenForNames(dnsSockets{}); err != nil {
				return err
			}
			parts, err := s.parts(cmd.Context())
			if err != nil {
				return err
			}
			if err := os.MkdirAll(c.runDir(), 0o700); err != nil {
				return fmt.Errorf("make the run folder: %w", err)
			}
			defer os.Remove(c.runDir()) // unless somebody else has something there
			return run.All(cmd.Context(), append(parts, run.Part{Name: "control", Runner: run.Func(s.serveExplain)})...)
		},
	}
	c.addFlags(cmd.Flags())
	return cmd
}

// server is the control core of one process.
type server struct {
	*config
	authority *pki.Authority
	registry  *api.Registry
	store     *store.Store
	cache     *cache.Cache
	api       *apiserver.Server
	client    *client.Client
	// clientCache is what controllers, scheduler and agent read; it must be started.
	clientCache *client.Cache
	// scheduler is nil while another server leads.
	scheduler atomic.Pointer[scheduler.Scheduler]
	// quotas is the admission that charges the quotas, which those who count have to know of.
	quotas   *admission.ResourceQuota
	listener *tracked
	names    dnsSockets
	handover *handover // nil where nobody can take over
	// localNode is the name of the node in the same process, "" if there is none.
	localNode string
	issuers   *oidc.Config               // whose tokens are taken beside our own
	auditLog  *auditlog.Log              // nil when nothing is recorded
	standards *podsecurity.Configuration // what is asked of pods where nothing says so
	inflight  int                        // how many requests are served at the same time
	ready     chan struct{}
}

// newServer opens everything that can fail: the certificates, the port and the store.
func newServer(ctx context.Context, c *config) (*server, error) {
	s, err := openServer(c, nil)
	if err != nil {
		return nil, err
	}
	return s, s.open(ctx)
}

// openServer opens what is quick and tells most of what can be wrong: the certificates and the port.
func openServer(c *config, h *handover) (*server, error) {
	s := &server{config: c, registry: all.Kinds(), ready: make(chan struct{})}
	var err error
	if s.inflight, err = c.requestsInFlight(); err != nil {
		return nil, err
	}
	if s.issuers, err = c.oidc.Load(); err != nil {
		return nil, err
	}
	if s.auditLog, err = c.audit.Open(); err != nil {
		return nil, err
	}
	if s.standards, err = podsecurity.Load(c.admissionConfig); err != nil {
		return nil, fmt.Errorf("--admission-control-config-file: %w", err)
	}
	if err := os.MkdirAll(c.data, 0o711); err != nil {
		return nil, fmt.Errorf("make the data folder: %w", err)
	}
	if s.authority, err = pki.Open(c.path("pki")); err != nil {
		return nil, err
	}
	if c.advertise == "" {
		c.advertise = machineAddress(c)
	}
	if s.handover = h; h != nil {
		s.listener = h.api
	} else if s.listener, err = fitting(nil, c.listen, c.apiPort); err != nil {
		return nil, fmt.Errorf("listen for the API: %w", err)
	}
	return s, nil
}

// open opens the store and puts the server together. When that fails, the server is closed.
func (s *server) open(ctx context.Context) (err error) {
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.isNew() {
		go apiserver.Warm() // the bootstrap objects are written first of all
	}
	if s.store, err = openStore(s.config); err != nil {
		return err
	}
	key, err := pki.SigningKey(s.path("pki"))
	if err != nil {
		return err
	}
	proxy, err := s.frontProxy()
	if err != nil {
		return err
	}
	issuers, err := oidc.Open(ctx, s.issuers)
	if err != nil {
		return err
	}
	s.assemble(&auth.Tokens{Key: key, IssuedBy: "https://kubernetes.default.svc." + s.clusterDomain}, proxy)
	if issuers != nil {
		s.api.Authenticator, s.api.Issuers = append(auth.Any{issuers}, s.api.Authenticator), issuers
	}
	return s.writeKubeconfig()
}

// isNew tells that the store has to be filled, as far as that can be known before it is opened.
func (s *server) isNew() bool {
	_, err := os.Stat(s.path("etcd"))
	return len(s.etcdEndpoints) == 0 && os.IsNotExist(err)
}

func (s *server) close() {
	if s.store != nil {
		s.store.Close()
	}
	s.names.close()
	s.listener.Close()
}

func (s *server) assemble(tokens *auth.Tokens, proxy *apiserver.FrontProxy) {
	s.cache = cache.New(s.store, s.registry)
	serviceRange := netip.MustParsePrefix(s.serviceRange) // complete has checked it
	roles := auth.NewRBAC(s.cache, s.registry)
	may := auth.Chain{auth.Masters{}, auth.Nodes{References: s.references()}, roles}
	objects := admission.Reader{Cache: s.cache, Registry: s.registry}
	s.quotas = &admission.ResourceQuota{Objects: objects, Write: func(ctx context.Context, q *corev1.ResourceQuota) error {
		return s.client.Status().Update(ctx, q)
	}}
	s.api = &apiserver.Server{
		Registry: s.registry, Store: s.store, Cache: s.cache,
		Authenticator: auth.Any{auth.Certificates{}, tokens},
		Tokens:        tokens,
		Authorizer:    may,
		FrontProxy:    proxy,
		ClientCA:      s.authority.CertPEM,
		ServiceRange:  serviceRange,
		OpenAPI:       openapi.Handler{},
		Audit:         s.auditLog,
		Metrics:       append(dns.Metrics(), pluginhost.Calls, workers.Metrics),
		Figures:       prometheus.GathererFunc(gatherControllers),
		StorageSize:   s.store.Size,
		MaxInFlight:   s.inflight,
		GitVersion:    gitVersion(),
		Checks: []apiserver.Check{
			{Name: "ping", Probe: func(context.Context) error { return nil }},
			{Name: "etcd", Probe: s.storeHealth},
		},
		Components: []apiserver.Check{
			{Name: "controller-manager", Probe: s.controlHealth}, {Name: "scheduler", Probe: s.controlHealth}, {Name: "etcd-0", Probe: s.storeHealth},
		},
	}
	s.api.Admission = s.admission(objects, roles, may)
	tokens.Objects = s.api.TokenObjects()
	s.api.Agents = s.agentTransport()
	s.api.Init()
	s.clientCache = client.NewCache(s.cache, s.registry)
	s.client = &client.Client{
		Server: s.api, Cache: s.cache, Registry: s.registry, Manager: "gantry",
		User: &user.DefaultInfo{Name: user.APIServerUser, Groups: []string{user.SystemPrivilegedGroup}},
	}
	if s.auditLog != nil {
		s.client.Server = apiserver.Recorded{Server: s.api}
	}
}

func (s *server) storeHealth(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	_, _, err := s.store.Get(ctx, "/registry/health")
	return err
}

// openStore returns a store from which the cache can be loaded, and which becomes ready meanwhile.
func openStore(c *config) (*store.Store, error) {
	sc := store.Config{Dir: c.path("etcd"), Endpoints: c.etcdEndpoints}
	if c.etcdCA != "" || c.etcdCert != "" {
		var err error
		if sc.TLS, err = etcdTLS(c); err != nil {
			return nil, err
		}
	}
	return store.Start(sc)
}

// parts are started in this order and stopped in reverse.
func (s *server) parts(ctx context.Context) ([]run.Part, error) {
	var parts []run.Part
	if s.auditLog != nil {
		parts = append(parts, run.Part{Name: "audit log", Runner: s.auditLog})
	}
	parts = append(parts, []run.Part{
		{Name: "memory", Runner: run.Func(func(ctx context.Context) error { return trimMemory(ctx, s.store) })},
		{Name: "store", Runner: s.store},
		{Name: "cache", Runner: s.cache, Ready: s.cache.Synced()},
		{Name: "apiserver", Runner: run.Func(s.serve), Ready: s.ready},
		{Name: "definitions", Runner: run.Func(s.api.FollowDefinitions)},
		{Name: "API services", Runner: run.Func(s.api.FollowAPIServices)},
		{Name: "flow schemas", Runner: run.Func(s.api.FollowFlowSchemas)},
		{Name: "client cache", Runner: run.Func(s.clientCache.Start)},
	}...)
	names, err := s.dnsParts()
	if err != nil {
		return nil, err
	}
	parts = append(parts, names...)
	if len(s.etcdEndpoints) > 0 {
		return append(parts, run.Part{Name: "control", Runner: run.Func(s.lead)}), nil
	}
	control, err := s.control(ctx)
	return append(parts, control...), err
}

// control makes what only one server may run at a time.
func (s *server) control(ctx context.Context) ([]run.Part, error) {
	mgr, err := s.newManager(ctx)
	if err != nil {
		return nil, err
	}
	sched, plugins, err := s.newScheduler(ctx)
	if err != nil {
		return nil, err
	}
	s.scheduler.Store(sched)
	parts := []run.Part{{Name: "controllers", Runner: run.Func(mgr.Start)}}
	if plugins != nil {
		parts = append(parts, run.Part{Name: "scheduler plugins", Runner: plugins})
	}
	return append(parts, run.Part{Name: "scheduler", Runner: sched}), nil
}

// serve answers requests until ctx ends; s.ready is closed once the bootstrap objects are there.
func (s *server) serve(ctx context.Context) error {
	s.api.LoadAllocations()
	if err := s.api.Bootstrap(ctx, s.advertise, s.apiPort); err != nil {
		return err
	}
	s.api.SyncDefinitions(ctx)
	if err := s.declareShipped(ctx); err != nil {
		return err
	}
	tlsConfig, err := s.servingTLS()
	if err != nil {
		return err
	}
	requests, stopRequests := context.WithCancelCause(context.Background())
	srv := &http.Server{
		Handler: s.api, TLSConfig: tlsConfig,
		BaseContext:       func(net.Listener) context.Context { return requests },
		ReadHeaderTimeout: 30 * time.Second,
		IdleTimeout:       3 * time.Minute,
		ErrorLog:          slog.NewLogLogger(slog.Default().Handler(), slog.LevelDebug),
	}
	second := &h2.Server{MaxStreams: 1000, IdleTimeout: srv.IdleTimeout}
	second.Attach(srv)
	failed := make(chan error, 1)
	go func() { failed <- srv.ServeTLS(h2.Cork(s.listener), "", "") }()
	slog.Info("API is served", "address", s.listener.Addr())
	close(s.ready)
	go apiserver.Warm()
	select {
	case err := <-failed:
		stopRequests(err)
		return err
	case <-ctx.Done():
	}
	// Who has connected is answered; http.Server.Shutdown alone would drop requests that it has not read yet. Watches never end by
	// themselves.
	s.listener.Close()
	srv.SetKeepAlivesEnabled(false)
	second.Retire()
	settled, cancel := context.WithTimeout(context.Background(), requestPatience)
	defer cancel()
	s.listener.wait(settled)
	handedOver := s.handover.given()
	if handedOver {
		stopRequests(upgrade.ErrHandedOver)
	} else {
		stopRequests(context.Canceled)
	}
	shut := make(chan error, 1)
	go func() { shut <- srv.Shutdown(context.Background()) }()
	select {
	case <-shut:
	case <-time.After(requestPatience):
		if !handedOver {
			srv.Close()
		} // Else it closes connections as what outlives the server ends: see handover.finish.
	}
	return ctx.Err()
}

func (s *server) servingTLS() (*tls.Config, error) {
	ips := []net.IP{
		net.IPv4(127, 0, 0, 1), net.IPv6loopback, net.ParseIP(s.advertise),
		net.IP(netip.MustParsePrefix(s.serviceRange).Masked().Addr().Next().AsSlice()),
	}
	names := []string{
		"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
		"kubernetes.default.svc." + s.clusterDomain, s.nodeName,
	}
	pair, err := s.authority.Issue("apiserver", pki.Identity{CommonName: "gantry-apiserver", Names: names, IPs: ips})
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		Certificates: []tls.Certificate{pair.TLS()},
		ClientCAs:    s.authority.Pool(), ClientAuth: tls.VerifyClientCertIfGiven,
		MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
		DynamicRecordSizingDisabled: true, // clients wait for whole answers
	}, nil
}
