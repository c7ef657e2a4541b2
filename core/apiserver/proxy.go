package apiserver

import (
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/util/proxy"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/upgrade"
)

// proxyVerbs are those of the methods that are passed on.
var proxyVerbs = metav1.Verbs{"create", "delete", "get", "patch", "update"}

// newPodTransport reaches pods. Who they are nobody can tell, so their certificates are not looked at.
func newPodTransport() http.RoundTripper {
	return &http.Transport{
		DialContext:         (&net.Dialer{}).DialContext,
		TLSClientConfig:     &tls.Config{InsecureSkipVerify: true},
		MaxIdleConnsPerHost: 4,
	}
}

// connectProxy passes the request on to what its name means: NAME, NAME:PORT or SCHEME:NAME:PORT.
func (s *Server) connectProxy(w http.ResponseWriter, c *call) {
	scheme, name, port, ok := utilnet.SplitSchemeNamePort(c.q.Name)
	if !ok {
		s.fail(w, jsonView, apierrors.NewBadRequest(fmt.Sprintf("invalid %s request %q", strings.ToLower(c.q.Resource.Kind), c.q.Name)))
		return
	}
	u := &url.URL{Scheme: scheme, Path: c.tail(), RawQuery: c.req.URL.RawQuery}
	target := *c.q
	target.Name, target.Subresource = name, ""
	transport, err := s.proxyTarget(c, &target, u, port)
	if err != nil {
		s.fail(w, jsonView, err)
		return
	}
	req := c.req.Clone(c.ctx)
	withoutCredentials(req.Header)
	proxy.NewUpgradeAwareHandler(u, transport, true, false, streamErrors{s}).ServeHTTP(upgrade.Patient(w), req)
}

// tail is what follows ".../proxy" in the path.
func (c *call) tail() string {
	words := strings.Split(strings.TrimPrefix(c.req.URL.Path, "/"), "/")
	first := 5 // api/v1/RESOURCE/NAME/proxy
	if c.q.Resource.Namespaced {
		first += 2
	}
	if len(words) == first {
		return ""
	}
	return "/" + strings.Join(words[first:], "/")
}

// withoutCredentials keeps to the server what was meant for it.
func withoutCredentials(h http.Header) {
	for name := range h {
		if name == "Authorization" || strings.HasPrefix(name, "Impersonate-") || strings.HasPrefix(name, "X-Remote-") {
			h.Del(name)
		}
	}
}

func (s *Server) proxyTarget(c *call, q *api.Request, u *url.URL, port string) (http.RoundTripper, error) {
	entry, err := s.Get(c.ctx, q, "")
	if err != nil {
		return nil, err
	}
	switch obj := entry.Object.(type) {
	case *corev1.Pod:
		u.Host, err = podHost(obj, port)
	case *corev1.Service:
		u.Host, err = serviceHost(obj, s.slicesOf(obj), port)
	case *corev1.Node:
		var agent string
		if agent, err = s.agentAddress(c, obj.Name); err != nil {
			return nil, err
		}
		host, agentPort, _ := net.SplitHostPort(agent)
		if port == "" || port == agentPort {
			u.Scheme, u.Host = "https", agent
			return s.Agents, nil
		}
		u.Host, err = proxyHost(host, port)
	}
	return s.Pods, err
}

// podHost defaults the port to the first that any container declares.
func podHost(pod *corev1.Pod, port string) (string, error) {
	for i := range pod.Spec.Containers {
		if ports := pod.Spec.Containers[i].Ports; port == "" && len(ports) > 0 {
			port = strconv.Itoa(int(ports[0].ContainerPort))
		}
	}
	return proxyHost(pod.Status.PodIP, port)
}

// proxyHost refuses addresses behind which lies the server's own machine or link.
func proxyHost(address, port string) (string, error) {
	if ip := net.ParseIP(address); ip == nil || !ip.IsGlobalUnicast() {
		return "", apierrors.NewBadRequest("address not allowed")
	}
	if port == "" {
		if strings.Contains(address, ":") {
			return "[" + address + "]", nil
		}
		return address, nil
	}
	return net.JoinHostPort(address, port), nil
}

func (s *Server) slicesOf(svc *corev1.Service) []*discoveryv1.EndpointSlice {
	r := s.Registry.Resource(discoveryv1.SchemeGroupVersion.WithResource("endpointslices"))
	var out []*discoveryv1.EndpointSlice
	for _, e := range s.Cache.Of(r).Snapshot().From(svc.Namespace, "") {
		if slice := e.Object.(*discoveryv1.EndpointSlice); slice.Labels[discoveryv1.LabelServiceName] == svc.Name {
			out = append(out, slice)
		}
	}
	return out
}

// serviceHost picks any ready pod behind a port of the service, which is given by name or number, or is the one without a name.
func serviceHost(svc *corev1.Service, slices []*discoveryv1.EndpointSlice, port string) (string, error) {
	if n, err := strconv.Atoi(port); err == nil {
		known := false
		for _, p := range svc.Spec.Ports {
			if known = int(p.Port) == n; known {
				port = p.Name
				break
			}
		}
		if !known {
			return "", apierrors.NewServiceUnavailable(fmt.Sprintf("no service port %d found for service %q", n, svc.Name))
		}
	}
	hosts := sets.New[string]()
	for _, slice := range slices {
		for _, p := range slice.Ports {
			if p.Port == nil || p.Name != nil && *p.Name != port || p.Name == nil && port != "" {
				continue
			}
			for _, e := range slice.Endpoints {
				if ready := e.Conditions.Ready; e.TargetRef != nil && e.TargetRef.Kind == "Pod" && (ready == nil || *ready) {
					if host, err := proxyHost(e.Addresses[0], strconv.Itoa(int(*p.Port))); err == nil {
						hosts.Insert(host)
					}
				}
			}
		}
	}
	if hosts.Len() == 0 {
		return "", apierrors.NewServiceUnavailable(fmt.Sprintf("no endpoints available for service %q", svc.Name))
	}
	return sets.List(hosts)[rand.IntN(hosts.Len())], nil
}
