package apiserver

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/httpstream"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/util/proxy"
	"k8s.io/apimachinery/pkg/util/sets"
	auditapi "k8s.io/apiserver/pkg/apis/audit"
	"k8s.io/apiserver/pkg/audit"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/client-go/transport"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"

	"github.com/gantryio/gantry/core/auth"
	"github.com/gantryio/gantry/core/turns"
	"github.com/gantryio/gantry/core/upgrade"
)

const (
	// fetchTime bounds what this server itself asks of aggregated API servers.
	fetchTime = 5 * time.Second
	// checks are made at once, because one of several pods behind a Service may be broken.
	checks = 5
)

// aggregatorUser is as whom this server asks aggregated API servers.
const aggregatorUser = "system:kube-aggregator"

// remoteTransport reaches the aggregated API server of an APIService.
func (s *Server) remoteTransport(spec *apiregistrationv1.APIServiceSpec) *http.Transport {
	config := &tls.Config{
		ServerName:         spec.Service.Name + "." + spec.Service.Namespace + ".svc",
		InsecureSkipVerify: spec.InsecureSkipTLSVerify, //nolint:gosec // as the APIService asks
		MinVersion:         tls.VersionTLS12,
	}
	if len(spec.CABundle) > 0 {
		config.RootCAs = x509.NewCertPool()
		config.RootCAs.AppendCertsFromPEM(spec.CABundle)
	}
	if s.FrontProxy != nil {
		config.Certificates = []tls.Certificate{s.FrontProxy.Certificate}
	}
	dial := s.Dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}).DialContext
	}
	return utilnet.SetTransportDefaults(&http.Transport{
		DialContext: dial, TLSClientConfig: config, TLSHandshakeTimeout: 10 * time.Second, MaxIdleConnsPerHost: 25,
	})
}

var remoteRequests = request.RequestInfoFactory{APIPrefixes: sets.NewString("api", "apis"), GrouplessAPIPrefixes: sets.NewString("api")}

// serveRemote passes a request on to the aggregated API server that serves it, if its sender may make it.
func (s *Server) serveRemote(w http.ResponseWriter, req *http.Request, r *remote, limited bool) {
	info, err := remoteRequests.NewRequestInfo(req)
	if err != nil {
		s.fail(w, jsonView, apierrors.NewBadRequest(err.Error()))
		return
	}
	ticket, ok := s.enter(req.Context(), w, limited && (info.Verb == "watch" || !lasting(req, info)), remoteRequest(req, info), jsonView)
	if !ok {
		return
	}
	defer ticket.Leave()
	if info.Verb == "watch" {
		ticket.Leave() // how it begins is the other server's concern
	}
	who := auth.UserOf(req.Context())
	if err := s.allowed(req.Context(), remoteAttributes(req, info)); err != nil {
		s.fail(w, jsonView, err)
		return
	}
	key := remoteKey(req, r, info)
	answer := &reply{ResponseWriter: w}
	w = answer
	defer func(begun time.Time) { s.figures.ended(key, answer, begun) }(time.Now())
	if lasting(req, info) {
		turns.Lasts(req.Context())
		defer s.figures.lasting(key)()
	}
	host := ""
	if r.available {
		host, err = s.resolve(r.from.Spec.Service)
	}
	if host == "" || err != nil {
		http.Error(w, "service unavailable", http.StatusServiceUnavailable)
		return
	}
	ctx := req.Context()
	if !lasting(req, info) {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, requestTime)
		defer cancel()
	}
	out := req.Clone(ctx)
	withoutCredentials(out.Header)
	if id, ok := audit.AuditIDFrom(ctx); ok {
		out.Header.Set(auditapi.HeaderAuditID, string(id))
	}
	// Upgraded connections are dialed past the round tripper, so that all headers have to be there by now.
	transport.SetAuthProxyHeaders(out, who.GetName(), who.GetUID(), who.GetGroups(), who.GetExtra())
	location := &url.URL{Scheme: "https", Host: host, Path: req.URL.Path, RawQuery: req.URL.RawQuery}
	handler := proxy.NewUpgradeAwareHandler(location, r.transport, true, httpstream.IsUpgradeRequest(req), remoteErrors{})
	handler.RejectForwardingRedirects = true
	handler.ServeHTTP(upgrade.Patient(w), out)
}

// remoteKey is what a request that is passed on is counted as. The names of what others serve are theirs, and not bounded: those that
// are not known have none.
func remoteKey(req *http.Request, r *remote, info *request.RequestInfo) requestKey {
	k := requestKey{verb: req.Method, group: r.gv.Group, version: r.gv.Version, component: "aggregator"}
	for _, known := range r.announced().Resources {
		if known.Resource == info.Resource {
			k.resource = info.Resource
		}
	}
	switch {
	case info.Verb == "watch" || info.Verb == "list":
		k.verb = strings.ToUpper(info.Verb)
	case req.Method == http.MethodHead || req.Method == http.MethodGet:
		k.verb = http.MethodGet
	case !slices.Contains([]string{http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}, req.Method):
		k.verb = "other"
	}
	switch {
	case !info.IsResourceRequest:
	case info.Name != "" || info.Verb == "create":
		k.scope = "resource"
	case info.Namespace != "":
		k.scope = "namespace"
	default:
		k.scope = "cluster"
	}
	return k
}

// remoteErrors tells of an aggregated API server that did not answer, as Kubernetes does.
type remoteErrors struct{}

func (remoteErrors) Error(w http.ResponseWriter, _ *http.Request, err error) {
	http.Error(w, err.Error(), http.StatusServiceUnavailable)
}

// lasting tells that a request may take longer than others.
func lasting(req *http.Request, info *request.RequestInfo) bool {
	return info.Verb == "watch" || info.Verb == "proxy" || httpstream.IsUpgradeRequest(req) ||
		slices.Contains([]string{"attach", "exec", "log", "portforward", "proxy"}, info.Subresource)
}

func remoteAttributes(req *http.Request, info *request.RequestInfo) *authorizer.AttributesRecord {
	out := &authorizer.AttributesRecord{
		User: auth.UserOf(req.Context()), Verb: info.Verb, Path: info.Path, ResourceRequest: info.IsResourceRequest,
	}
	if info.IsResourceRequest {
		out.Namespace, out.APIGroup, out.APIVersion = info.Namespace, info.APIGroup, info.APIVersion
		out.Resource, out.Subresource, out.Name = info.Resource, info.Subresource, info.Name
	}
	return out
}

// resolve picks any address at which a Service's port is served. The Service's own address is not used, for this machine need
// not be a node.
func (s *Server) resolve(ref *apiregistrationv1.ServiceReference) (string, error) {
	r := s.Registry.Resource(corev1.SchemeGroupVersion.WithResource("services"))
	e := s.Cache.Of(r).Get(r.Key(ref.Namespace, ref.Name))
	if e == nil {
		return "", apierrors.NewNotFound(r.GroupResource(), ref.Name)
	}
	svc := e.Object.(*corev1.Service)
	if svc.Spec.Type == corev1.ServiceTypeExternalName {
		return net.JoinHostPort(svc.Spec.ExternalName, strconv.Itoa(int(*ref.Port))), nil
	}
	i := slices.IndexFunc(svc.Spec.Ports, func(p corev1.ServicePort) bool { return p.Port == *ref.Port })
	if i < 0 {
		return "", apierrors.NewServiceUnavailable(fmt.Sprintf("no service port %d found for service %q", *ref.Port, svc.Name))
	}
	var hosts []string
	for _, slice := range s.slicesOf(svc) {
		for _, p := range slice.Ports {
			if p.Port == nil || p.Name == nil && svc.Spec.Ports[i].Name != "" || p.Name != nil && *p.Name != svc.Spec.Ports[i].Name {
				continue
			}
			for _, e := range slice.Endpoints {
				if e.Conditions.Ready == nil || *e.Conditions.Ready {
					hosts = append(hosts, net.JoinHostPort(e.Addresses[0], strconv.Itoa(int(*p.Port))))
				}
			}
		}
	}
	if len(hosts) == 0 {
		return "", apierrors.NewServiceUnavailable(fmt.Sprintf("no endpoints available for service %q", svc.Name))
	}
	return hosts[rand.IntN(len(hosts))], nil
}

// fetch sends a GET of this server's own to an aggregated API server. The caller closes the body of the answer.
func (s *Server) fetch(ctx context.Context, r *remote, path string, header http.Header) (*http.Response, error) {
	host, err := s.resolve(r.from.Spec.Service)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+host+path, nil)
	if err != nil {
		return nil, fmt.Errorf("fetch from %s: %w", host, err)
	}
	for name, values := range header {
		req.Header[name] = values
	}
	transport.SetAuthProxyHeaders(req, aggregatorUser, "", []string{"system:masters"}, nil)
	return r.transport.RoundTrip(req)
}

// CheckAPIService asks the aggregated API server of an APIService whether it serves its group version, and returns nil when it
// does. It does not mind what the APIService's status says.
func (s *Server) CheckAPIService(ctx context.Context, from *apiregistrationv1.APIService) error {
	s.aggregation.mu.Lock()
	r := s.newRemote(from, *s.aggregation.remotes.Load())
	s.aggregation.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	results := make(chan error, checks)
	for range checks {
		go func() { results <- s.checkOnce(ctx, r) }()
	}
	var failed error
	for range checks {
		if failed = <-results; failed == nil {
			return nil
		}
	}
	r.transport.CloseIdleConnections()
	return failed
}

func (s *Server) checkOnce(ctx context.Context, r *remote) error {
	path := "/apis/" + r.gv.String()
	resp, err := s.fetch(ctx, r, path, nil)
	if err != nil {
		var status apierrors.APIStatus
		if errors.As(err, &status) {
			return err
		}
		return fmt.Errorf("failing or missing response from %s: %w", path, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return fmt.Errorf("failing or missing response from %s: bad status from %s: %d", resp.Request.URL, resp.Request.URL, resp.StatusCode)
	}
	return nil
}
