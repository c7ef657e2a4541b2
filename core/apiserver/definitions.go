package apiserver

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/api/apiextensions"
	"github.com/gantryio/gantry/core/api/custom"
	"github.com/gantryio/gantry/core/api/openapi"
	"github.com/gantryio/gantry/core/cache"
)

// definitions serve the kinds that CustomResourceDefinitions declare. They are looked at when one changes, and by a request for
// what is not known, which then waits for it: who has seen that a definition is established can use it.
type definitions struct {
	mu     sync.Mutex
	seen   atomic.Int64 // revision of the last change that was looked at
	served map[string]*defined
}

// defined is a definition as it is served.
type defined struct {
	from  *apiextensionsv1.CustomResourceDefinition
	kinds []custom.Kind
}

var definitionKind = apiextensionsv1.SchemeGroupVersion.WithResource("customresourcedefinitions")

// FollowDefinitions serves what definitions declare until ctx ends.
func (s *Server) FollowDefinitions(ctx context.Context) error {
	col := s.collection(definitionKind)
	if col == nil {
		<-ctx.Done()
		return ctx.Err()
	}
	_, w := col.SnapshotAndWatch(cache.Scope{})
	defer w.Close()
	w.SetPatient()
	var events []*cache.Event
	for {
		s.SyncDefinitions(ctx)
		var err error
		if events, err = w.Next(ctx, events[:0]); err != nil {
			return err
		}
	}
}

// collection is what the cache has of a kind, nil for a server of other kinds.
func (s *Server) collection(kind schema.GroupVersionResource) *cache.Collection {
	r := s.Registry.Resource(kind)
	if r == nil {
		return nil
	}
	return s.Cache.Of(r)
}

// SyncDefinitions makes what is served agree with the definitions. It costs a comparison when nothing has changed, and reports
// whether something had.
func (s *Server) SyncDefinitions(ctx context.Context) bool {
	col := s.collection(definitionKind)
	if col == nil || col.Changed() <= s.definitions.seen.Load() {
		return false
	}
	d := &s.definitions
	d.mu.Lock()
	defer d.mu.Unlock()
	changed := col.Changed()
	if changed <= d.seen.Load() {
		return true // somebody else has done it
	}
	if err := s.serveDefinitions(ctx, col); err != nil {
		slog.Error("cannot serve all that is defined", "err", err)
		return true
	}
	d.seen.Store(changed)
	return true
}

func (s *Server) serveDefinitions(ctx context.Context, col *cache.Collection) error {
	old, now := s.definitions.served, map[string]*defined{}
	var list []*api.Resource
	var names []string
	for _, e := range col.Snapshot().All() {
		crd := e.Object.(*apiextensionsv1.CustomResourceDefinition)
		if !apiextensions.Established(crd) {
			continue
		}
		def := old[crd.Name]
		if def == nil || !servedAlike(def.from, crd) {
			var err error
			if def, err = s.define(ctx, crd); err != nil {
				slog.Error("cannot serve a definition", "name", crd.Name, "err", err)
				continue
			}
		}
		now[crd.Name] = def
		names = append(names, crd.Name)
	}
	slices.Sort(names)
	for _, name := range names {
		for _, k := range now[name].kinds {
			if k.Served {
				list = append(list, k.Resource)
			}
		}
	}
	if err := s.Registry.SetCustom(list); err != nil {
		return err
	}
	s.definitions.served = now
	for name, def := range old {
		if now[name] != def {
			s.managed.forget(def.kinds)
		}
		if now[name] == nil {
			s.Cache.Forget(def.kinds[0].Resource)
		}
	}
	s.announce()
	return nil
}

// define makes the kinds of a definition and lets the cache hold their objects.
func (s *Server) define(ctx context.Context, crd *apiextensionsv1.CustomResourceDefinition) (*defined, error) {
	kinds, err := custom.Kinds(crd)
	if err != nil {
		return nil, err
	}
	webhook, err := s.conversionOf(crd)
	if err != nil {
		return nil, err
	}
	for _, k := range kinds {
		if webhook != nil {
			k.Convert = webhook.convert
		}
		if err := s.managed.learn(k); err != nil {
			return nil, fmt.Errorf("learn the schema of %s: %w", k.GroupVersionKind(), err)
		}
	}
	if err := s.Cache.Use(ctx, kinds[0].Resource); err != nil {
		return nil, err
	}
	return &defined{from: crd, kinds: kinds}, nil
}

// servedAlike tells that nothing has changed that decides what is served.
func servedAlike(a, b *apiextensionsv1.CustomResourceDefinition) bool {
	return a.UID == b.UID && (a.DeletionTimestamp == nil) == (b.DeletionTimestamp == nil) &&
		(a.Generation == b.Generation || equality.Semantic.DeepEqual(&a.Spec, &b.Spec))
}

// definedDocument returns the OpenAPI 3 document of the defined kinds of a group version ("apis/example.com/v1"), nil when there are none, and the
// paths of all such documents.
func (s *Server) definedDocument(path string) (doc []byte, paths []string) {
	var kinds []custom.Kind
	s.definitions.mu.Lock()
	for _, def := range s.definitions.served {
		for _, k := range def.kinds {
			at := "apis/" + k.APIVersion()
			if !k.Served {
				continue
			}
			if !slices.Contains(paths, at) {
				paths = append(paths, at)
			}
			if at == path {
				kinds = append(kinds, k)
			}
		}
	}
	s.definitions.mu.Unlock()
	slices.Sort(paths)
	if len(kinds) == 0 {
		return nil, paths
	}
	slices.SortFunc(kinds, func(a, b custom.Kind) int { return strings.Compare(a.Plural, b.Plural) })
	doc, err := custom.Document(kinds)
	if err != nil {
		slog.Error("cannot describe what is defined", "path", path, "err", err)
	}
	return doc, paths
}

// serveDefinedOpenAPI answers for what is defined, and for the index of all documents. It returns false for the documents of the
// server's own kinds.
func (s *Server) serveDefinedOpenAPI(w http.ResponseWriter, req *http.Request, path string) bool {
	s.SyncDefinitions(req.Context())
	path = strings.TrimPrefix(strings.TrimPrefix(path, "openapi/v3"), "/")
	if r := s.remoteOf(strings.Split(path, "/")); r != nil {
		s.serveRemoteOpenAPI(w, req, r)
		return true
	}
	doc, paths := s.definedDocument(path)
	if path == "" && s.OpenAPI != nil {
		more := map[string]string{}
		for _, p := range paths {
			more[p] = fmt.Sprintf("/openapi/v3/%s?hash=%X", p, s.definitions.seen.Load())
		}
		openapi.ServeIndex(w, s.withRemoteOpenAPI(req.Context(), more))
		return true
	}
	if doc == nil {
		return false
	}
	etag := fmt.Sprintf(`"%X"`, sha256.Sum256(doc))
	w.Header().Set("ETag", etag)
	if req.Header.Get("If-None-Match") == etag {
		w.WriteHeader(http.StatusNotModified)
		return true
	}
	send(w, typeJSON, http.StatusOK, doc)
	return true
}
