package apiserver

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	openapi_v2 "github.com/google/gnostic-models/openapiv2"
	"google.golang.org/protobuf/proto"
	"k8s.io/kube-openapi/pkg/aggregator"
	"k8s.io/kube-openapi/pkg/validation/spec"

	"github.com/gantryio/gantry/core/api/custom"
	"github.com/gantryio/gantry/core/api/openapi"
)

// swagger is the OpenAPI 2 document of everything, made when somebody asks for it: only old clients do.
type swagger struct {
	mu                    sync.Mutex
	definitions, services int64
	made                  time.Time
	etag                  string
	json, protobuf        []byte // compressed; protobuf is made when it is asked for
}

// serveSwagger answers with what is defined and what other API servers serve added to the server's own kinds. It returns false
// when there is nothing to add.
func (s *Server) serveSwagger(w http.ResponseWriter, req *http.Request) bool {
	s.SyncDefinitions(req.Context())
	s.awaitKinds(req.Context())
	kinds, remotes := s.definedKinds(), *s.aggregation.remotes.Load()
	if len(kinds) == 0 && len(remotes) == 0 {
		return false
	}
	d := &s.swagger
	d.mu.Lock()
	defer d.mu.Unlock()
	definitions, services := s.definitions.seen.Load(), s.aggregation.seen.Load()
	stale := len(remotes) > 0 && time.Since(d.made) > refreshTime
	if d.json == nil || d.definitions != definitions || d.services != services || stale {
		data, err := s.composeSwagger(req.Context(), kinds, remotes)
		if err != nil {
			s.fail(w, jsonView, err)
			return true
		}
		d.definitions, d.services, d.made = definitions, services, time.Now()
		d.json, d.protobuf, d.etag = compress(data), nil, fmt.Sprintf(`"%X"`, sha256.Sum256(data))
	}
	s.sendSwagger(w, req)
	return true
}

func (s *Server) sendSwagger(w http.ResponseWriter, req *http.Request) {
	d, h := &s.swagger, w.Header()
	h.Set("ETag", d.etag)
	h.Set("Vary", "Accept, Accept-Encoding")
	if req.Header.Get("If-None-Match") == d.etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	body, media := d.json, typeJSON
	if strings.Contains(req.Header.Get("Accept"), openapi.V2Protobuf) {
		if d.protobuf == nil {
			data, err := swaggerProtobuf(d.json)
			if err != nil {
				s.fail(w, jsonView, err)
				return
			}
			d.protobuf = compress(data)
		}
		body, media = d.protobuf, strings.Replace(openapi.V2Protobuf, "@", ".", 1)
	}
	h.Set("Content-Type", media)
	if strings.Contains(req.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		_, _ = w.Write(body)
		return
	}
	if plain, err := gzip.NewReader(bytes.NewReader(body)); err == nil {
		_, _ = io.Copy(w, plain)
	}
}

// composeSwagger merges the documents. Where two describe a type differently, the later one is renamed.
func (s *Server) composeSwagger(ctx context.Context, kinds []custom.Kind, remotes remotes) ([]byte, error) {
	whole, err := openapi.Swagger()
	if err != nil {
		return nil, err
	}
	if len(kinds) > 0 {
		defined, err := custom.Swagger(kinds)
		if err != nil {
			return nil, err
		}
		if err := aggregator.MergeSpecsIgnorePathConflictRenamingDefinitionsAndParameters(whole, defined); err != nil {
			return nil, fmt.Errorf("describe what is defined: %w", err)
		}
	}
	for _, v := range announcedVersions(s.Registry, remotes) {
		if v.remote == nil || !v.remote.available {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, fetchTime)
		var other spec.Swagger
		_, err := s.fetchJSON(ctx, v.remote, "/openapi/v2", typeJSON, &other)
		cancel()
		if err == nil {
			part := aggregator.FilterSpecByPathsWithoutSideEffects(&other, []string{"/apis/" + v.gv.String() + "/"})
			err = aggregator.MergeSpecsIgnorePathConflictRenamingDefinitionsAndParameters(whole, part)
		}
		if err != nil {
			slog.Warn("cannot describe what an aggregated API server serves", "version", v.gv, "err", err)
		}
	}
	return whole.MarshalJSON()
}

// definedKinds are those that users have defined, in all served versions.
func (s *Server) definedKinds() []custom.Kind {
	s.definitions.mu.Lock()
	defer s.definitions.mu.Unlock()
	var out []custom.Kind
	for _, def := range s.definitions.served {
		for _, k := range def.kinds {
			if k.Served {
				out = append(out, k)
			}
		}
	}
	slices.SortFunc(out, func(a, b custom.Kind) int {
		return strings.Compare(a.APIVersion()+"/"+a.Plural, b.APIVersion()+"/"+b.Plural)
	})
	return out
}

func compress(data []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, _ = z.Write(data) // into memory
	_ = z.Close()
	return out.Bytes()
}

func swaggerProtobuf(compressed []byte) ([]byte, error) {
	plain, err := gzip.NewReader(bytes.NewReader(compressed))
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(plain)
	if err != nil {
		return nil, err
	}
	doc, err := openapi_v2.ParseDocument(data)
	if err != nil {
		return nil, fmt.Errorf("describe everything as protobuf: %w", err)
	}
	return proto.Marshal(doc)
}
