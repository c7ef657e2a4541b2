package apiserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	discoveryv2 "k8s.io/api/apidiscovery/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// maxDocument bounds what aggregated API servers may answer to this server's own questions.
const maxDocument = 64 << 20

// remoteKinds is what is known of a group version that another API server serves.
type remoteKinds struct {
	mu       sync.Mutex
	version  *discoveryv2.APIVersionDiscovery
	openapi  string // the URL of its OpenAPI 3 document there, "" when there is none
	learned  time.Time
	learning bool
	failed   bool
	first    chan struct{} // closed after the first try
}

func newRemoteKinds() *remoteKinds { return &remoteKinds{first: make(chan struct{})} }

func (k *remoteKinds) expire() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.learned = time.Time{}
}

// begin tells that it is time to learn, and that nobody else does.
func (k *remoteKinds) begin(now time.Time) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.learning || now.Sub(k.learned) < refreshTime {
		return false
	}
	k.learning, k.learned = true, now
	return true
}

// end keeps what was known when the answer was an error.
func (k *remoteKinds) end(version *discoveryv2.APIVersionDiscovery, openapi string, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.learning, k.failed = false, err != nil
	if err == nil {
		k.version, k.openapi = version, openapi
	}
}

// tried lets go those who wait for the first try; what it found is announced by now.
func (k *remoteKinds) tried() {
	k.mu.Lock()
	defer k.mu.Unlock()
	select {
	case <-k.first:
	default:
		close(k.first)
	}
}

// announced is the version's part of the aggregated document: stale when it cannot be used or is not known.
func (r *remote) announced() discoveryv2.APIVersionDiscovery {
	r.known.mu.Lock()
	defer r.known.mu.Unlock()
	out := discoveryv2.APIVersionDiscovery{Version: r.gv.Version}
	if r.known.version != nil {
		out = *r.known.version
	}
	out.Freshness = discoveryv2.DiscoveryFreshnessCurrent
	if !r.available || r.known.failed || r.known.version == nil {
		out.Freshness = discoveryv2.DiscoveryFreshnessStale
	}
	return out
}

func (r *remote) openapi() string {
	r.known.mu.Lock()
	defer r.known.mu.Unlock()
	return r.known.openapi
}

// learnKinds asks an aggregated API server what it serves, and announces it.
func (s *Server) learnKinds(ctx context.Context, r *remote) {
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	version, err := s.fetchKinds(ctx, r)
	if err != nil && ctx.Err() == nil {
		slog.Warn("cannot learn what an aggregated API server serves", "version", r.gv, "err", err)
	}
	r.known.end(version, s.fetchOpenAPI(ctx, r), err)
	s.announce()
	r.known.tried()
}

// awaitKinds waits until what has become available is known, but not for long.
func (s *Server) awaitKinds(ctx context.Context) {
	s.syncAPIServices()
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	for _, r := range *s.aggregation.remotes.Load() {
		if !r.available {
			continue
		}
		select {
		case <-r.known.first:
		case <-ctx.Done():
			return
		}
	}
}

// fetchKinds prefers the aggregated document and takes the older form from those that have no other.
func (s *Server) fetchKinds(ctx context.Context, r *remote) (*discoveryv2.APIVersionDiscovery, error) {
	var groups discoveryv2.APIGroupDiscoveryList
	media, err := s.fetchJSON(ctx, r, "/apis", aggregatedType, &groups)
	if err == nil && strings.Contains(media, "v=v2;as=APIGroupDiscoveryList") {
		for _, g := range groups.Items {
			for i := range g.Versions {
				if v := &g.Versions[i]; g.Name == r.gv.Group && v.Version == r.gv.Version {
					return withKinds(v), nil
				}
			}
		}
		return nil, fmt.Errorf("%s is not among what is served", r.gv)
	}
	var list metav1.APIResourceList
	if _, err := s.fetchJSON(ctx, r, "/apis/"+r.gv.String(), typeJSON, &list); err != nil {
		return nil, err
	}
	return aggregateList(r.gv, list.APIResources), nil
}

// withKinds gives every resource a kind, which some clients rely on.
func withKinds(v *discoveryv2.APIVersionDiscovery) *discoveryv2.APIVersionDiscovery {
	for i := range v.Resources {
		one := &v.Resources[i]
		if one.ResponseKind == nil {
			one.ResponseKind = &metav1.GroupVersionKind{}
		}
		for j := range one.Subresources {
			if one.Subresources[j].ResponseKind == nil {
				one.Subresources[j].ResponseKind = &metav1.GroupVersionKind{}
			}
		}
	}
	return v
}

// aggregateList turns the older form of discovery into the aggregated one.
func aggregateList(gv schema.GroupVersion, list []metav1.APIResource) *discoveryv2.APIVersionDiscovery {
	out := &discoveryv2.APIVersionDiscovery{Version: gv.Version}
	at := map[string]int{}
	kindOf := func(one metav1.APIResource) *metav1.GroupVersionKind {
		kind := metav1.GroupVersionKind{Group: gv.Group, Version: gv.Version, Kind: one.Kind}
		if one.Version != "" {
			kind.Group, kind.Version = one.Group, one.Version
		}
		return &kind
	}
	resource := func(name string) *discoveryv2.APIResourceDiscovery {
		i, ok := at[name]
		if !ok {
			i, at[name] = len(out.Resources), len(out.Resources)
			out.Resources = append(out.Resources, discoveryv2.APIResourceDiscovery{Resource: name, ResponseKind: &metav1.GroupVersionKind{}})
		}
		return &out.Resources[i]
	}
	for _, one := range list {
		name, sub, isSub := strings.Cut(one.Name, "/")
		scope := discoveryv2.ScopeCluster
		if one.Namespaced {
			scope = discoveryv2.ScopeNamespace
		}
		r := resource(name)
		r.Scope = scope
		if isSub {
			r.Subresources = append(r.Subresources, discoveryv2.APISubresourceDiscovery{Subresource: sub, ResponseKind: kindOf(one), Verbs: one.Verbs})
			continue
		}
		r.ResponseKind, r.SingularResource, r.Verbs = kindOf(one), one.SingularName, one.Verbs
		r.ShortNames, r.Categories = one.ShortNames, one.Categories
	}
	return out
}

// fetchOpenAPI returns where the OpenAPI 3 document of the group version is, "" when there is none.
func (s *Server) fetchOpenAPI(ctx context.Context, r *remote) string {
	var index struct {
		Paths map[string]struct {
			URL string `json:"serverRelativeURL"`
		} `json:"paths"`
	}
	if _, err := s.fetchJSON(ctx, r, "/openapi/v3", typeJSON, &index); err != nil {
		return ""
	}
	return index.Paths["apis/"+r.gv.String()].URL
}

// fetchJSON reads an answer into out and returns its media type.
func (s *Server) fetchJSON(ctx context.Context, r *remote, path, accept string, out any) (string, error) {
	resp, err := s.fetch(ctx, r, path, http.Header{"Accept": {accept}})
	if err != nil {
		return "", fmt.Errorf("fetch %s: %w", path, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("fetch %s: %s", path, resp.Status)
	}
	body := http.MaxBytesReader(nil, resp.Body, maxDocument)
	if err := json.NewDecoder(body).Decode(out); err != nil {
		return "", fmt.Errorf("read %s: %w", path, errors.Join(err, discard(body)))
	}
	return resp.Header.Get("Content-Type"), discard(body)
}

// discard reads to the end, so that the connection can be used again.
func discard(body io.Reader) error {
	_, err := io.Copy(io.Discard, body)
	return err
}
