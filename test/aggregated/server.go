// Package aggregated is a small API server for tests of the aggregation: it serves one kind from memory, and finds out who asks
// as the libraries of Kubernetes do, by what extension-apiserver-authentication says.
package aggregated

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	discoveryv2 "k8s.io/api/apidiscovery/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/authenticatorfactory"
	"k8s.io/apiserver/pkg/authentication/request/headerrequest"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	"k8s.io/client-go/kubernetes"
)

// Server serves the kind Flunder of a group version.
type Server struct {
	Version schema.GroupVersion
	// Old says that the server has only the older form of discovery, and OpenAPI 2 alone.
	Old bool

	who  authenticator.Request
	mu   sync.Mutex
	objs []unstructured.Unstructured
	news chan unstructured.Unstructured
	last user.Info
}

// Start reads whom to believe from the cluster.
func (s *Server) Start(ctx context.Context, cluster kubernetes.Interface) error {
	const namespace, name = "kube-system", "extension-apiserver-authentication"
	published, err := cluster.CoreV1().ConfigMaps(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	ca, err := dynamiccertificates.NewStaticCAContent("front-proxy", []byte(published.Data["requestheader-client-ca-file"]))
	if err != nil {
		return err
	}
	headers := headerrequest.NewRequestHeaderAuthRequestController(name, namespace, cluster,
		"requestheader-username-headers", "requestheader-uid-headers", "requestheader-group-headers",
		"requestheader-extra-headers-prefix", "requestheader-allowed-names")
	if err := headers.RunOnce(ctx); err != nil {
		return err
	}
	config := authenticatorfactory.DelegatingAuthenticatorConfig{
		RequestHeaderConfig: &authenticatorfactory.RequestHeaderConfig{
			UsernameHeaders: headerrequest.StringSliceProviderFunc(headers.UsernameHeaders), UIDHeaders: headerrequest.StringSliceProviderFunc(headers.UIDHeaders),
			GroupHeaders: headerrequest.StringSliceProviderFunc(headers.GroupHeaders), ExtraHeaderPrefixes: headerrequest.StringSliceProviderFunc(headers.ExtraHeaderPrefixes),
			CAContentProvider: ca, AllowedClientNames: headerrequest.StringSliceProviderFunc(headers.AllowedClientNames),
		},
		TokenAccessReviewClient: cluster.AuthenticationV1(), TokenAccessReviewTimeout: 10 * time.Second,
		CacheTTL: time.Second, WebhookRetryBackoff: &wait.Backoff{Steps: 3, Duration: 100 * time.Millisecond},
	}
	s.who, _, err = config.New()
	s.news = make(chan unstructured.Unstructured, 16)
	return err
}

// TLS is what the server listens with: clients need not have a certificate, but are asked for one.
func TLS(pair tls.Certificate) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequestClientCert}
}

// Last is who made the last request for an object.
func (s *Server) Last() user.Info {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	answer, ok, err := s.who.AuthenticateRequest(req)
	if err != nil || !ok {
		http.Error(w, fmt.Sprintf("unauthorized: %v", err), http.StatusUnauthorized)
		return
	}
	base := "/apis/" + s.Version.String()
	switch rest, under := strings.CutPrefix(req.URL.Path, base); {
	case req.URL.Path == "/apis" && !s.Old:
		w.Header().Set("Content-Type", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList")
		write(w, s.discovery())
	case under && rest == "":
		write(w, metav1.APIResourceList{GroupVersion: s.Version.String(), APIResources: []metav1.APIResource{{
			Name: "flunders", SingularName: "flunder", Namespaced: true, Kind: "Flunder", Verbs: metav1.Verbs{"create", "get", "list", "watch"},
		}, {Name: "flunders/echo", Namespaced: true, Kind: "Flunder", Verbs: metav1.Verbs{"get"}}}})
	case under:
		s.mu.Lock()
		s.last = answer.User
		s.mu.Unlock()
		s.serveObjects(w, req, strings.Split(strings.Trim(rest, "/"), "/"))
	case strings.HasPrefix(req.URL.Path, "/openapi/"):
		s.serveOpenAPI(w, req)
	default:
		http.NotFound(w, req)
	}
}

// serveObjects serves namespaces/NAMESPACE/flunders and below.
func (s *Server) serveObjects(w http.ResponseWriter, req *http.Request, parts []string) {
	switch {
	case len(parts) == 5 && parts[4] == "echo":
		echo(w)
	case req.URL.Query().Get("watch") != "":
		s.watch(w, req)
	case req.Method == http.MethodPost:
		var obj unstructured.Unstructured
		if err := json.NewDecoder(req.Body).Decode(&obj); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		s.mu.Lock()
		obj.SetResourceVersion(fmt.Sprint(len(s.objs) + 1))
		s.objs = append(s.objs, obj)
		s.mu.Unlock()
		s.news <- obj
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
		_ = json.NewEncoder(w).Encode(obj.Object)
	case req.Method == http.MethodGet:
		s.mu.Lock()
		list := unstructured.UnstructuredList{Items: append([]unstructured.Unstructured{}, s.objs...)}
		s.mu.Unlock()
		list.SetGroupVersionKind(s.Version.WithKind("FlunderList"))
		write(w, &list)
	default:
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
	}
}

func (s *Server) watch(w http.ResponseWriter, req *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	control := http.NewResponseController(w)
	_ = control.Flush()
	for {
		select {
		case <-req.Context().Done():
			return
		case obj := <-s.news:
			_ = json.NewEncoder(w).Encode(map[string]any{"type": "ADDED", "object": obj.Object})
			_ = control.Flush()
		}
	}
}

// echo upgrades the connection and sends back what it gets.
func echo(w http.ResponseWriter) {
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	_, _ = io.Copy(conn, rw)
}

func (s *Server) discovery() *discoveryv2.APIGroupDiscoveryList {
	kind := metav1.GroupVersionKind(s.Version.WithKind("Flunder"))
	return &discoveryv2.APIGroupDiscoveryList{
		TypeMeta: metav1.TypeMeta{Kind: "APIGroupDiscoveryList", APIVersion: "apidiscovery.k8s.io/v2"},
		Items: []discoveryv2.APIGroupDiscovery{{
			ObjectMeta: metav1.ObjectMeta{Name: s.Version.Group},
			Versions: []discoveryv2.APIVersionDiscovery{{Version: s.Version.Version, Resources: []discoveryv2.APIResourceDiscovery{{
				Resource: "flunders", SingularResource: "flunder", Scope: discoveryv2.ScopeNamespace, ResponseKind: &kind,
				Verbs: metav1.Verbs{"create", "get", "list", "watch"},
			}}}},
		}},
	}
}

// Model is the name of Flunder's schema.
const Model = "com.example.aggregated.v1.Flunder"

func (s *Server) serveOpenAPI(w http.ResponseWriter, req *http.Request) {
	gvk := []any{map[string]any{"group": s.Version.Group, "version": s.Version.Version, "kind": "Flunder"}}
	schemas := map[string]any{Model: map[string]any{
		"type": "object", "description": "Flunder is nothing.", "x-kubernetes-group-version-kind": gvk,
		"properties": map[string]any{"apiVersion": map[string]any{"type": "string"}, "kind": map[string]any{"type": "string"}},
	}}
	paths := map[string]any{"/apis/" + s.Version.String() + "/flunders": map[string]any{"get": map[string]any{
		"operationId": "listFlunder", "responses": map[string]any{"200": map[string]any{"description": "OK", "schema": map[string]any{"$ref": "#/definitions/" + Model}}},
	}}}
	switch path := req.URL.Path; {
	case path == "/openapi/v2":
		write(w, map[string]any{"swagger": "2.0", "info": map[string]any{"title": "t", "version": "v1"}, "paths": paths, "definitions": schemas})
	case s.Old:
		http.NotFound(w, req)
	case path == "/openapi/v3":
		at := "apis/" + s.Version.String()
		write(w, map[string]any{"paths": map[string]any{at: map[string]any{"serverRelativeURL": "/openapi/v3/" + at + "?hash=ABC"}}})
	default:
		write(w, map[string]any{"openapi": "3.0.0", "info": map[string]any{"title": "t", "version": "v1"}, "paths": map[string]any{}, "components": map[string]any{"schemas": schemas}})
	}
}

func write(w http.ResponseWriter, body any) {
	if w.Header().Get("Content-Type") == "" {
		w.Header().Set("Content-Type", "application/json")
	}
	_ = json.NewEncoder(w).Encode(body)
}
