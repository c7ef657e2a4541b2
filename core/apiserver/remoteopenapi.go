package apiserver

import (
	"context"
	"io"
	"net/http"
	"net/url"
)

// withRemoteOpenAPI adds to an index what aggregated API servers describe. Their URLs keep the hash, by which clients tell what
// they have already.
func (s *Server) withRemoteOpenAPI(ctx context.Context, index map[string]string) map[string]string {
	s.awaitKinds(ctx)
	for gv, r := range *s.aggregation.remotes.Load() {
		if u, err := url.Parse(r.openapi()); err == nil && u.Path != "" && r.available {
			index["apis/"+gv.String()] = (&url.URL{Path: "/openapi/v3/apis/" + gv.String(), RawQuery: u.RawQuery}).String()
		}
	}
	return index
}

// serveRemoteOpenAPI passes on the document of a group version that another API server serves. The request is this server's
// own: who may read descriptions here may read all of them.
func (s *Server) serveRemoteOpenAPI(w http.ResponseWriter, req *http.Request, r *remote) {
	at := r.openapi()
	if at == "" {
		s.fail(w, jsonView, errNoResource)
		return
	}
	header := http.Header{}
	for _, name := range []string{"Accept", "Accept-Encoding", "If-None-Match"} {
		if values := req.Header.Values(name); len(values) > 0 {
			header[name] = values
		}
	}
	ctx, cancel := context.WithTimeout(req.Context(), requestTime)
	defer cancel()
	resp, err := s.fetch(ctx, r, at, header)
	if err != nil {
		http.Error(w, "service unavailable", http.StatusServiceUnavailable)
		return
	}
	defer resp.Body.Close()
	for _, name := range []string{"Content-Type", "Content-Encoding", "ETag", "Cache-Control", "Vary"} {
		if values := resp.Header.Values(name); len(values) > 0 {
			w.Header()[name] = values
		}
	}
	w.WriteHeader(resp.StatusCode)
	_, _ = io.Copy(w, http.MaxBytesReader(nil, resp.Body, maxDocument))
}
