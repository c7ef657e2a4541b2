package apiserver

import (
	"context"
	"fmt"
	"net/http"
	"net/http/pprof"
	"runtime"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/version"
)

// dumpPath is where kube-apiserver shows what waits.
const dumpPath = "debug/api_priority_and_fairness/"

// Check is a named part of health.
type Check struct {
	Name string
	// Probe returns nil while the part is well; it must not block for long.
	Probe func(ctx context.Context) error
}

// open tells the paths that need no credentials: health and version.
func open(path string) bool {
	return path == "/version" || path == "/version/" || healthPath(path) != ""
}

func healthPath(path string) string {
	root, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	switch root {
	case "healthz", "livez", "readyz":
		return root
	}
	return ""
}

func (s *Server) serveOpen(w http.ResponseWriter, req *http.Request) {
	if healthPath(req.URL.Path) == "" {
		s.serveVersion(w)
		return
	}
	s.serveHealth(w, req)
}

func (s *Server) serveVersion(w http.ResponseWriter) { writeJSON(w, s.version()) }

func (s *Server) version() version.Info {
	parts := strings.SplitN(strings.TrimPrefix(s.GitVersion, "v"), ".", 3)
	info := version.Info{
		GitVersion: s.GitVersion, GoVersion: runtime.Version(), Compiler: runtime.Compiler,
		Platform: runtime.GOOS + "/" + runtime.GOARCH, GitTreeState: "clean",
	}
	if len(parts) == 3 {
		info.Major, info.Minor = parts[0], parts[1]
	}
	return info
}

// serveHealth runs all checks, or the one that the path names.
func (s *Server) serveHealth(w http.ResponseWriter, req *http.Request) {
	root := healthPath(req.URL.Path)
	only := strings.TrimPrefix(strings.TrimPrefix(req.URL.Path, "/"+root), "/")
	excluded := req.URL.Query()["exclude"]
	var lines strings.Builder
	failed, found := false, only == ""
	for _, c := range s.Checks {
		if only != "" && only != c.Name || slices.Contains(excluded, c.Name) {
			continue
		}
		found = true
		if err := c.Probe(req.Context()); err != nil {
			failed = true
			fmt.Fprintf(&lines, "[-]%s failed: %v\n", c.Name, err)
		} else {
			fmt.Fprintf(&lines, "[+]%s ok\n", c.Name)
		}
	}
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	switch {
	case !found:
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprintln(w, "404 page not found")
	case failed:
		w.WriteHeader(http.StatusInternalServerError)
		fmt.Fprintf(w, "%s%s check failed\n", lines.String(), root)
	case queryBool(req.URL.Query(), "verbose"):
		fmt.Fprintf(w, "%s%s check passed\n", lines.String(), root)
	default:
		fmt.Fprint(w, "ok")
	}
}

// servePath answers what is neither open nor a resource.
func (s *Server) servePath(w http.ResponseWriter, req *http.Request, path string) {
	switch {
	case path == "api" || path == "apis" || strings.HasPrefix(path, "api/") || strings.HasPrefix(path, "apis/"):
		s.serveDiscovery(w, req, path)
	case strings.HasPrefix(path, "openapi/v3") && s.serveDefinedOpenAPI(w, req, path):
	case path == "openapi/v2" && s.OpenAPI != nil && s.serveSwagger(w, req):
	case strings.HasPrefix(path, "openapi/") && s.OpenAPI != nil:
		s.OpenAPI.ServeHTTP(w, req)
	case strings.HasPrefix(path, "debug/pprof"):
		serveProfile(w, req, strings.TrimPrefix(strings.TrimPrefix(path, "debug/pprof"), "/"))
	case strings.HasPrefix(path, dumpPath):
		s.serveDump(w, strings.TrimPrefix(path, dumpPath))
	case s.serveIssuer(w, req, path):
	case path == "metrics":
		s.metrics.ServeHTTP(w, req)
	case path == "":
		writeJSON(w, map[string][]string{"paths": s.paths()})
	default:
		s.fail(w, jsonView, errNoResource)
	}
}

// serveProfile gives whom the authorizer lets what net/http/pprof has, as kube-apiserver does.
func serveProfile(w http.ResponseWriter, req *http.Request, name string) {
	switch name {
	case "profile":
		pprof.Profile(w, req)
	case "trace":
		pprof.Trace(w, req)
	case "symbol":
		pprof.Symbol(w, req)
	default:
		pprof.Index(w, req)
	}
}

func (s *Server) paths() []string {
	out := []string{
		"/" + issuerPath, "/api", "/api/v1", "/apis", "/healthz", "/livez", "/metrics", "/openapi/v2", "/openapi/v3", "/" + keysPath, "/readyz", "/version",
	}
	for _, v := range announcedVersions(s.Registry, *s.aggregation.remotes.Load()) {
		if gv := v.gv; gv.Group != "" {
			out = append(out, "/apis/"+gv.Group, "/apis/"+gv.String())
		}
	}
	return out
}
