package auditlog

import (
	"bufio"
	"net"
	"net/http"

	auditapi "k8s.io/apiserver/pkg/apis/audit"
)

// Writer returns w with the record, which learns from it how the answer begins.
func (r *Record) Writer(w http.ResponseWriter) http.ResponseWriter { return &writer{w, r} }

// Of returns the record that an answer belongs to, nil if there is none.
func Of(w http.ResponseWriter) *Record {
	for {
		switch have := w.(type) {
		case *writer:
			return have.record
		case interface{ Unwrap() http.ResponseWriter }:
			w = have.Unwrap()
		default:
			return nil
		}
	}
}

type writer struct {
	http.ResponseWriter
	record *Record
}

var (
	_ http.Flusher  = (*writer)(nil)
	_ http.Hijacker = (*writer)(nil)
)

// Unwrap is for http.ResponseController.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (w *writer) WriteHeader(code int) {
	if code >= http.StatusOK || code == http.StatusSwitchingProtocols {
		w.begin(code)
	}
	w.ResponseWriter.WriteHeader(code)
}

// begin records the code, and drops the name that an aggregated server has given the request beside ours.
func (w *writer) begin(code int) {
	w.record.code(code)
	if ids := w.Header().Values(auditapi.HeaderAuditID); len(ids) > 1 {
		w.Header().Set(auditapi.HeaderAuditID, ids[0])
	}
}

// Write implements http.ResponseWriter.
func (w *writer) Write(data []byte) (int, error) {
	w.record.code(http.StatusOK)
	return w.ResponseWriter.Write(data)
}

// FlushError is for http.ResponseController.
func (w *writer) FlushError() error {
	w.record.code(http.StatusOK)
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Flush implements http.Flusher.
func (w *writer) Flush() { _ = w.FlushError() }

// Hijack implements http.Hijacker.
func (w *writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.record.code(http.StatusSwitchingProtocols)
	return http.NewResponseController(w.ResponseWriter).Hijack()
}
