package apiserver_test

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// sink is an answer that nobody reads.
type sink struct {
	header http.Header
	code   int
}

func (s *sink) Header() http.Header            { return s.header }
func (s *sink) WriteHeader(code int)           { s.code = code }
func (s *sink) Write(data []byte) (int, error) { return len(data), nil }

// certified is the connection of a tester who has a certificate.
func certified(name string) *tls.ConnectionState {
	cert := &x509.Certificate{Subject: pkix.Name{CommonName: name, Organization: []string{"testers"}}}
	return &tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert}, VerifiedChains: [][]*x509.Certificate{{cert}}}
}

// BenchmarkRequest is what requests cost from the handler on, without connections: what is recorded and counted must cost next to
// nothing where nobody asks for it.
func BenchmarkRequest(b *testing.B) {
	c := shared
	must(c.typed(b).CoreV1().ConfigMaps("default").Create(b.Context(), configMap("bench", "k", strings.Repeat("v", 1000)), metav1.CreateOptions{}))(b)
	defer func() {
		_ = c.typed(b).CoreV1().ConfigMaps("default").Delete(b.Context(), "bench", metav1.DeleteOptions{})
	}()
	state := certified("jo")
	for name, path := range map[string]string{"get": "/api/v1/namespaces/default/configmaps/bench", "path": "/version", "missing": "/api/v1/namespaces/default/configmaps/none"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				req := httptest.NewRequest(http.MethodGet, path, nil)
				req.TLS = state
				c.api.ServeHTTP(&sink{header: http.Header{}}, req)
			}
		})
	}
}
