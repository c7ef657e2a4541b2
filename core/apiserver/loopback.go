package apiserver

import (
	"fmt"
	"io"
	"net/http"
	"runtime/debug"
	"sync"

	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/gantryio/gantry/core/auth"
)

// Loopback is the transport of clients of this process that speak HTTP, such as those of k8s.io/metrics: their requests need
// no socket, and no credentials either, for the server knows who sends them. They are authorized like any other.
type Loopback struct {
	Server *Server
	User   user.Info
}

var _ http.RoundTripper = Loopback{}

// RoundTrip implements http.RoundTripper. The body of the answer is what the server writes while it is being read; it must be
// closed.
func (l Loopback) RoundTrip(req *http.Request) (*http.Response, error) {
	body, written := io.Pipe()
	w := &loopbackWriter{
		header: http.Header{}, body: written, begun: make(chan struct{}),
		resp: &http.Response{Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, ContentLength: -1, Body: body, Request: req},
	}
	in := req.Clone(auth.WithUser(req.Context(), l.User))
	if in.RemoteAddr == "" {
		in.RemoteAddr = "127.0.0.1:0"
	}
	if in.Body == nil {
		in.Body = http.NoBody
	}
	go func() {
		defer in.Body.Close()
		defer func() {
			cause := recover()
			if cause != nil {
				_ = written.CloseWithError(fmt.Errorf("request panicked: %v\n%s", cause, debug.Stack()))
			}
			w.WriteHeader(http.StatusOK)
			_ = written.Close()
		}()
		l.Server.routeLoopback(w, in)
	}()
	select {
	case <-w.begun:
		return w.resp, nil
	case <-req.Context().Done():
		_ = body.CloseWithError(req.Context().Err()) // the handler need not write what nobody reads
		return nil, req.Context().Err()
	}
}

type loopbackWriter struct {
	header http.Header
	resp   *http.Response
	body   *io.PipeWriter
	once   sync.Once
	begun  chan struct{}
}

var _ http.Flusher = (*loopbackWriter)(nil)

// Header implements http.ResponseWriter.
func (w *loopbackWriter) Header() http.Header { return w.header }

// WriteHeader implements http.ResponseWriter; only its first call counts.
func (w *loopbackWriter) WriteHeader(code int) {
	w.once.Do(func() {
		w.resp.StatusCode, w.resp.Status = code, fmt.Sprintf("%d %s", code, http.StatusText(code))
		w.resp.Header = w.header.Clone()
		close(w.begun)
	})
}

// Write implements http.ResponseWriter.
func (w *loopbackWriter) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(p)
}

// Flush implements http.Flusher: nothing is held back.
func (w *loopbackWriter) Flush() { w.WriteHeader(http.StatusOK) }
