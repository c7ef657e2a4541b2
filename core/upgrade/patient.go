// Package upgrade keeps what clients have open. It mends the one thing that proxies of upgraded connections get wrong: they end both
// directions as soon as one of them fails, and a command that exits while its input is still arriving then loses its last words,
// its exit code first of all. And it tells the end of a request from that of a process whose requests another one answers.
package upgrade

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
)

// Patient returns w for an upgrade-aware proxy (k8s.io/apimachinery/pkg/util/proxy). When the proxy hijacks its connection and the
// backend takes no more of what the client sends, the rest is read and dropped until the client leaves or the proxy closes
// the connection, which it does when it has passed on all that the backend said. So only the client's own leaving, or
// the end of the backend's words, ends the proxying.
func Patient(w http.ResponseWriter) http.ResponseWriter { return patientWriter{w} }

type patientWriter struct{ http.ResponseWriter }

var _ http.Hijacker = patientWriter{}

// Unwrap is for http.ResponseController.
func (w patientWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Hijack implements http.Hijacker.
func (w patientWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, fmt.Errorf("hijack the connection: %w", err)
	}
	return patientConn{conn}, rw, nil
}

// patientConn does not stop reading when what it reads cannot be passed on.
type patientConn struct{ net.Conn }

var _ io.WriterTo = patientConn{}

// WriteTo implements io.WriterTo, which io.Copy prefers. Its error is that of the writer if that failed, else the reader's.
func (c patientConn) WriteTo(w io.Writer) (int64, error) {
	n, err := io.Copy(w, c.Conn)
	if err != nil {
		_, _ = io.Copy(io.Discard, c.Conn) // it fails at once if it was the reading that failed
	}
	return n, err
}
