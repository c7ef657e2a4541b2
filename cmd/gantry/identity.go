package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/gantryio/gantry/core/apiserver"
	"github.com/gantryio/gantry/core/auth"
	"github.com/gantryio/gantry/core/pki"
)

// kubeconfigFile is the administrator's, under the data folder.
const kubeconfigFile = "admin.kubeconfig"

func (s *server) writeKubeconfig() error {
	admin, err := s.authority.Issue("admin", pki.Identity{CommonName: "kubernetes-admin", Organizations: []string{user.SystemPrivilegedGroup}})
	if err != nil {
		return err
	}
	url := "https://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(int(s.apiPort)))
	if ip := net.ParseIP(s.listen); ip != nil && !ip.IsUnspecified() {
		url = "https://" + net.JoinHostPort(s.listen, strconv.Itoa(int(s.apiPort)))
	}
	data, err := s.authority.Kubeconfig(url, "kubernetes-admin", admin)
	if err != nil {
		return err
	}
	return pki.WriteFile(s.path(kubeconfigFile), data)
}

// agentTransport reaches the agents' ports as a client that they let do everything.
func (s *server) agentTransport() http.RoundTripper {
	pair, err := s.authority.Issue("apiserver-agent-client", pki.Identity{
		CommonName: "gantry-apiserver", Organizations: []string{user.SystemPrivilegedGroup},
	})
	if err != nil {
		return failing{err}
	}
	return &http.Transport{
		TLSClientConfig: &tls.Config{
			Certificates: []tls.Certificate{pair.TLS()}, RootCAs: s.authority.Pool(), MinVersion: tls.VersionTLS12,
			NextProtos: []string{"http/1.1"}, // streams are upgraded connections
		},
		MaxIdleConnsPerHost: 4,
	}
}

// frontProxy is by which aggregated API servers know this server. Its authority signs nothing else, for whoever has such a
// certificate may name any user to them.
func (s *server) frontProxy() (*apiserver.FrontProxy, error) {
	const name = "front-proxy-client"
	authority, err := pki.Open(s.path("pki/front-proxy"))
	if err != nil {
		return nil, err
	}
	pair, err := authority.Issue("client", pki.Identity{CommonName: name})
	if err != nil {
		return nil, err
	}
	return &apiserver.FrontProxy{Certificate: pair.TLS(), CA: authority.CertPEM, Names: []string{name}}, nil
}

type failing struct{ err error }

// RoundTrip implements http.RoundTripper.
func (f failing) RoundTrip(*http.Request) (*http.Response, error) { return nil, f.err }

// references answers the authorizer's question from the cache.
func (s *server) references() auth.References { return nodeReferences{s} }

type nodeReferences struct{ s *server }

// NodeUses implements auth.References.
func (n nodeReferences) NodeUses(node, resource, namespace, name string) bool {
	if resource == "resourceslices" {
		return n.owns(node, name)
	}
	r := n.s.registry.Resource(corev1.SchemeGroupVersion.WithResource("pods"))
	for _, e := range n.s.cache.Of(r).Snapshot().From(namespace, "") {
		pod := e.Object.(*corev1.Pod)
		if pod.Spec.NodeName == node && auth.PodRefersTo(pod, resource, name) {
			return true
		}
	}
	return false
}

// owns tells whether a slice names the node.
func (n nodeReferences) owns(node, name string) bool {
	r := n.s.registry.Resource(resourcev1.SchemeGroupVersion.WithResource("resourceslices"))
	e := n.s.cache.Of(r).Get(r.Key("", name))
	if e == nil {
		return false
	}
	of := e.Object.(*resourcev1.ResourceSlice).Spec.NodeName
	return of != nil && *of == node
}

// machineAddress is the first global IPv4 address of an interface that is up; without one, as in a network
// namespace that has only lo, the first address of the pod range, which the agent puts on lo.
func machineAddress(c *config) string {
	addrs, err := net.InterfaceAddrs()
	if err == nil {
		for _, a := range addrs {
			ip, ok := a.(*net.IPNet)
			if !ok || ip.IP.To4() == nil || !ip.IP.IsGlobalUnicast() {
				continue
			}
			addr, _ := netip.AddrFromSlice(ip.IP.To4())
			if !netip.MustParsePrefix(c.podRange).Contains(addr) {
				return addr.String()
			}
		}
	}
	return fallbackAddress(c)
}

func fallbackAddress(c *config) string {
	return netip.MustParsePrefix(c.podRange).Masked().Addr().Next().String()
}

func etcdTLS(c *config) (*tls.Config, error) {
	out := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.etcdCA != "" {
		data, err := os.ReadFile(c.etcdCA)
		if err != nil {
			return nil, fmt.Errorf("--etcd-ca: %w", err)
		}
		out.RootCAs = x509.NewCertPool()
		if !out.RootCAs.AppendCertsFromPEM(data) {
			return nil, errors.New("--etcd-ca: no certificate in " + c.etcdCA)
		}
	}
	if c.etcdCert != "" {
		pair, err := tls.LoadX509KeyPair(c.etcdCert, c.etcdKey)
		if err != nil {
			return nil, fmt.Errorf("--etcd-cert: %w", err)
		}
		out.Certificates = []tls.Certificate{pair}
	}
	return out, nil
}
