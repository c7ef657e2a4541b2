package stream

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/proxy"

	"github.com/gantryio/gantry/core/upgrade"
)

func (s *Server) exec(w http.ResponseWriter, r *http.Request) {
	req, err := execRequest(r)
	if err == nil && len(req.Command) == 0 {
		err = fmt.Errorf("%w: a command is required", ErrBad)
	}
	if err != nil {
		fail(w, err)
		return
	}
	u, err := s.Pods.Exec(r.Context(), r.PathValue("namespace"), r.PathValue("pod"), r.PathValue("uid"), req)
	s.forward(w, r, u, err)
}

func (s *Server) attach(w http.ResponseWriter, r *http.Request) {
	req, err := execRequest(r)
	if err != nil {
		fail(w, err)
		return
	}
	u, err := s.Pods.Attach(r.Context(), r.PathValue("namespace"), r.PathValue("pod"), r.PathValue("uid"), req)
	s.forward(w, r, u, err)
}

func (s *Server) portForward(w http.ResponseWriter, r *http.Request) {
	var ports []int32
	for _, name := range []string{"port", "ports"} {
		for _, v := range r.URL.Query()[name] {
			n, err := strconv.ParseUint(v, 10, 16)
			if err != nil || n == 0 {
				fail(w, fmt.Errorf("%w: invalid port %q", ErrBad, v))
				return
			}
			ports = append(ports, int32(n))
		}
	}
	u, err := s.Pods.PortForward(r.Context(), r.PathValue("namespace"), r.PathValue("pod"), r.PathValue("uid"), ports)
	s.forward(w, r, u, err)
}

func execRequest(r *http.Request) (ExecRequest, error) {
	q := r.URL.Query()
	flag := func(names ...string) bool {
		for _, n := range names {
			if v := q.Get(n); v == "1" || v == "true" {
				return true
			}
		}
		return false
	}
	out := ExecRequest{
		Container: r.PathValue("container"), Command: q[corev1.ExecCommandParam],
		TTY: flag(corev1.ExecTTYParam), Stdin: flag(corev1.ExecStdinParam, "stdin"),
		Stdout: flag(corev1.ExecStdoutParam, "stdout"), Stderr: flag(corev1.ExecStderrParam, "stderr"),
	}
	if out.TTY {
		out.Stderr = false
	}
	if !out.Stdin && !out.Stdout && !out.Stderr {
		return out, fmt.Errorf("%w: you must specify at least 1 of stdin, stdout, stderr", ErrBad)
	}
	return out, nil
}

// forward hands the upgraded connection to the runtime's own streaming server, whatever protocol it speaks.
func (s *Server) forward(w http.ResponseWriter, r *http.Request, u *url.URL, err error) {
	if err != nil {
		fail(w, err)
		return
	}
	h := proxy.NewUpgradeAwareHandler(u, nil, false, true, responder{})
	h.ServeHTTP(upgrade.Patient(w), r)
}

type responder struct{}

var _ proxy.ErrorResponder = responder{}

// Error implements proxy.ErrorResponder.
func (responder) Error(w http.ResponseWriter, _ *http.Request, err error) {
	http.Error(w, "reach the runtime's streaming server: "+err.Error(), http.StatusInternalServerError)
}
