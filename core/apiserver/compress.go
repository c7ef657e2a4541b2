package apiserver

import (
	"compress/gzip"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
)

// compressedFrom is the size from which answers are compressed, as in Kubernetes.
const compressedFrom = 128 << 10

var compressors = sync.Pool{New: func() any {
	z, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed) // a level that there is
	return z
}}

// send answers with data, compressed when it is much and the client takes that.
func (c *call) send(w http.ResponseWriter, status int, data []byte) error {
	defer c.written(len(data))()
	if len(data) < compressedFrom || !takesGzip(c.req) {
		return send(w, c.view.format, status, data)
	}
	h := w.Header()
	h.Set("Content-Type", c.view.format)
	h.Set("Content-Encoding", "gzip")
	h.Set("Vary", "Accept-Encoding")
	h.Set("Cache-Control", "no-cache, private")
	w.WriteHeader(status)
	z := compressors.Get().(*gzip.Writer)
	defer compressors.Put(z)
	z.Reset(w)
	if _, err := z.Write(data); err != nil {
		return err
	}
	return z.Close()
}

// takesGzip tells that the answer is worth compressing: the client accepts it, and is not on this machine, where it would cost
// both sides time and spare nobody anything.
func takesGzip(req *http.Request) bool {
	for word := range strings.SplitSeq(req.Header.Get("Accept-Encoding"), ",") {
		if name, _, _ := strings.Cut(strings.TrimSpace(word), ";"); name == "gzip" {
			return !onThisMachine(req)
		}
	}
	return false
}

func onThisMachine(req *http.Request) bool {
	peer, err := netip.ParseAddrPort(req.RemoteAddr)
	if err != nil || peer.Addr().Unmap().IsLoopback() {
		return true
	}
	local, ok := req.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return false
	}
	own, err := netip.ParseAddrPort(local.String())
	return err == nil && own.Addr().Unmap() == peer.Addr().Unmap()
}
