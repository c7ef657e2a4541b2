// Package stream is the agent's HTTPS port with the kubelet's paths: logs, exec, attach, port-forward, stats and metrics.
// Callers prove who they are by a client certificate; an Authorizer says what they may do.
package stream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	statsv1alpha1 "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
)

// Authorizer says whether a user may do something with a subresource of the node: "log", "proxy", "stats", "metrics",
// "healthz" or "pods".
type Authorizer interface {
	Authorize(ctx context.Context, u user.Info, verb, subresource string) error
}

// LogRef is where a container's log is.
type LogRef struct {
	Path string
	// Ended is closed when the container has ended and nothing more will be written.
	Ended <-chan struct{}
}

// ExecRequest is a command to run in a container.
type ExecRequest struct {
	Container                  string
	Command                    []string
	TTY, Stdin, Stdout, Stderr bool
}

// Pods is what the port serves.
type Pods interface {
	// ContainerLog finds the log of a container, of its previous incarnation if asked.
	ContainerLog(namespace, name, container string, previous bool) (LogRef, error)
	// Exec, Attach and PortForward ask the runtime for the URL at which it serves the session.
	Exec(ctx context.Context, namespace, name, uid string, r ExecRequest) (*url.URL, error)
	Attach(ctx context.Context, namespace, name, uid string, r ExecRequest) (*url.URL, error)
	PortForward(ctx context.Context, namespace, name, uid string, ports []int32) (*url.URL, error)
	// List returns the pods of the node.
	List() []*corev1.Pod
	Stats(ctx context.Context) (*statsv1alpha1.Summary, error)
	// Healthy returns an error when the agent cannot do its work.
	Healthy(ctx context.Context) error
}

// Errors that Pods returns, for the HTTP status that they stand for.
var (
	ErrNotFound = errors.New("not found")
	ErrBad      = errors.New("bad request")
)

const (
	readHeaderTimeout = 30 * time.Second
	stopTimeout       = 2 * time.Second
	mastersGroup      = "system:masters"
)

// Server is the HTTPS port.
type Server struct {
	Address    string
	Port       int32
	TLS        *tls.Config
	Authorizer Authorizer
	Pods       Pods
	Log        *slog.Logger
	// Listener overrides Address and Port.
	Listener net.Listener

	stopping chan struct{} // closed when Run stops, nil before
}

// Run serves until the context ends.
func (s *Server) Run(ctx context.Context) error {
	l := s.Listener
	if l == nil {
		var err error
		var lc net.ListenConfig
		if l, err = lc.Listen(ctx, "tcp", net.JoinHostPort(s.Address, strconv.Itoa(int(s.Port)))); err != nil {
			return fmt.Errorf("listen on the agent's port: %w", err)
		}
	}
	cfg := s.TLS.Clone()
	cfg.NextProtos = []string{"h2", "http/1.1"}
	s.stopping = make(chan struct{})
	srv := &http.Server{
		Handler: s.Handler(), TLSConfig: cfg, ReadHeaderTimeout: readHeaderTimeout,
		ErrorLog: slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug),
	}
	done := make(chan error, 1)
	go func() { done <- srv.ServeTLS(l, "", "") }()
	select {
	case err := <-done:
		return fmt.Errorf("serve the agent's port: %w", err)
	case <-ctx.Done():
	}
	close(s.stopping)
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if srv.Shutdown(stop) != nil {
		srv.Close()
	}
	return nil
}

// Handler is what the port serves, authentication and authorization included.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	on := func(pattern, subresource string, h http.HandlerFunc) { mux.Handle(pattern, s.guard(subresource, h)) }
	on("GET /healthz", "healthz", s.healthz)
	on("GET /pods", "pods", s.pods)
	on("GET /stats/summary", "stats", s.stats)
	on("GET /metrics", "metrics", s.metrics)
	on("GET /metrics/resource", "metrics", s.resourceMetrics)
	on("GET /metrics/cadvisor", "metrics", s.resourceMetrics)
	on("GET /containerLogs/{namespace}/{pod}/{container}", "log", s.logs)
	for _, uid := range []string{"", "/{uid}"} {
		on("/exec/{namespace}/{pod}"+uid+"/{container}", "proxy", s.exec)
		on("/attach/{namespace}/{pod}"+uid+"/{container}", "proxy", s.attach)
		on("/portForward/{namespace}/{pod}"+uid, "proxy", s.portForward)
	}
	return mux
}

// guard lets through who may pass.
func (s *Server) guard(subresource string, next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u := userOf(r)
		if u == nil {
			http.Error(w, "Unauthorized", http.StatusUnauthorized)
			return
		}
		verb := "get"
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			verb = "create"
		}
		if err := s.authorize(r.Context(), u, verb, subresource); err != nil {
			http.Error(w, "Forbidden: "+err.Error(), http.StatusForbidden)
			return
		}
		next(w, r)
	})
}

func (s *Server) authorize(ctx context.Context, u user.Info, verb, subresource string) error {
	for _, g := range u.GetGroups() {
		if g == mastersGroup {
			return nil
		}
	}
	if s.Authorizer == nil {
		return fmt.Errorf("user %q may not %s nodes/%s", u.GetName(), verb, subresource)
	}
	return s.Authorizer.Authorize(ctx, u, verb, subresource)
}

func userOf(r *http.Request) user.Info {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return nil
	}
	subject := r.TLS.PeerCertificates[0].Subject
	return &user.DefaultInfo{Name: subject.CommonName, Groups: subject.Organization}
}

func (s *Server) healthz(w http.ResponseWriter, r *http.Request) {
	if err := s.Pods.Healthy(r.Context()); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = io.WriteString(w, "ok")
}

// fail answers with the status that an error stands for.
func fail(w http.ResponseWriter, err error) {
	code := http.StatusInternalServerError
	switch {
	case errors.Is(err, ErrNotFound):
		code = http.StatusNotFound
	case errors.Is(err, ErrBad):
		code = http.StatusBadRequest
	}
	http.Error(w, err.Error(), code)
}
