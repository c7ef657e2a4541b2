// Package openapi serves the API's schemas, which kubectl explains kinds and validates manifests by.
//
// The documents are made at generate time from the comments and tags of k8s.io/api and from the list of
// kinds, and are kept compressed: serving one costs no memory beyond the copy.
package openapi

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	_ "embed"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"net/http"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/kube-openapi/pkg/validation/spec"
)

//go:generate go run ./generate -out documents.zip

//go:embed documents.zip
var documents []byte

// The media types beside JSON.
const (
	V2Protobuf = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
	v3Protobuf = "application/com.github.proto-openapi.spec.v3@v1.0+protobuf"
)

// Handler serves /openapi/v2, /openapi/v3 and what the latter lists.
type Handler struct{}

var _ http.Handler = Handler{}

// archive is the files of documents.zip, each gzip-compressed and stored as it is.
var archive = sync.OnceValues(func() (*zip.Reader, error) {
	return zip.NewReader(bytes.NewReader(documents), int64(len(documents)))
})

// version identifies the documents; a client that has it need not load them again.
var version = sync.OnceValue(func() string {
	h := fnv.New128a()
	_, _ = h.Write(documents)
	return fmt.Sprintf("%X", h.Sum(nil))
})

// ServeHTTP implements http.Handler.
func (Handler) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	path := strings.Trim(strings.TrimPrefix(req.URL.Path, "/openapi/"), "/")
	if path == "v3" {
		ServeIndex(w, nil)
		return
	}
	accept := req.Header.Get("Accept")
	name, media := path+".json", "application/json"
	for _, protobuf := range []string{V2Protobuf, v3Protobuf} {
		if strings.Contains(accept, protobuf) {
			// An @ cannot stand in a Content-Type, so there it is a dot, as everywhere.
			name, media = path+".pb", strings.Replace(protobuf, "@", ".", 1)
		}
	}
	if err := serveFile(w, req, name, media); err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
	}
}

// ServeIndex lists the documents of version 3 by the path of their group version ("apis/apps/v1"), and more, whose URLs are
// given.
func ServeIndex(w http.ResponseWriter, more map[string]string) {
	type entry struct {
		URL string `json:"serverRelativeURL"`
	}
	paths := map[string]entry{}
	files, err := archive()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	for _, f := range files.File {
		if name, ok := strings.CutPrefix(f.Name, "v3/"); ok && strings.HasSuffix(name, ".json") {
			name = strings.TrimSuffix(name, ".json")
			paths[name] = entry{"/openapi/v3/" + name + "?hash=" + version()}
		}
	}
	for name, url := range more {
		paths[name] = entry{url}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"paths": paths})
}

func serveFile(w http.ResponseWriter, req *http.Request, name, media string) error {
	files, err := archive()
	if err != nil {
		return err
	}
	f, err := files.Open(name)
	if err != nil {
		return fmt.Errorf("no such document: %s", req.URL.Path)
	}
	defer f.Close()
	h := w.Header()
	etag := `"` + version() + `"`
	h.Set("ETag", etag)
	h.Set("Vary", "Accept, Accept-Encoding")
	if req.URL.Query().Get("hash") == version() {
		h.Set("Cache-Control", "public, immutable")
	}
	if req.Header.Get("If-None-Match") == etag {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	h.Set("Content-Type", media)
	var body io.Reader = f
	if strings.Contains(req.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
	} else if body, err = gzip.NewReader(f); err != nil {
		return err
	}
	_, _ = io.Copy(w, body)
	return nil
}

// Swagger returns the OpenAPI 2 document of the server's own kinds, a copy each time.
func Swagger() (*spec.Swagger, error) {
	files, err := archive()
	if err != nil {
		return nil, fmt.Errorf("open the schemas: %w", err)
	}
	f, err := files.Open("v2.json")
	if err != nil {
		return nil, fmt.Errorf("open the schemas: %w", err)
	}
	defer func() { _ = f.Close() }()
	data, err := gzip.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("read the schemas: %w", err)
	}
	out := &spec.Swagger{}
	if err := json.NewDecoder(data).Decode(out); err != nil {
		return nil, fmt.Errorf("read the schemas: %w", err)
	}
	return out, nil
}

// Schemas returns the schemas of a group version by their names, with references below
// #/components/schemas/.
func Schemas(gv schema.GroupVersion) (map[string]*spec.Schema, error) {
	files, err := archive()
	if err != nil {
		return nil, fmt.Errorf("open the schemas: %w", err)
	}
	name := "v3/apis/" + gv.String() + ".json"
	if gv.Group == "" {
		name = "v3/api/" + gv.Version + ".json"
	}
	f, err := files.Open(name)
	if err != nil {
		return nil, fmt.Errorf("open the schemas: %w", err)
	}
	defer func() { _ = f.Close() }()
	data, err := gzip.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	var doc struct {
		Components struct {
			Schemas map[string]*spec.Schema `json:"schemas"`
		} `json:"components"`
	}
	if err := json.NewDecoder(data).Decode(&doc); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return doc.Components.Schemas, nil
}
