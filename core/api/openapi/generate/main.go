// Command generate writes the OpenAPI documents of all kinds.
//
// It runs kube-openapi's generator over the packages of k8s.io/api in a module of its own in a temporary
// folder, with the versions of this one, and composes the documents from what that prints.
package main

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"slices"

	openapi_v2 "github.com/google/gnostic-models/openapiv2"
	openapi_v3 "github.com/google/gnostic-models/openapiv3"
	"google.golang.org/protobuf/proto"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/api/all"
)

func main() {
	out := flag.String("out", "documents.zip", "file to write")
	flag.Parse()
	if err := generate(*out); err != nil {
		log.Fatal(err)
	}
}

func generate(path string) error {
	registry := all.Kinds()
	schemas, err := loadSchemas(registry)
	if err != nil {
		return err
	}
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	v2 := composeV2(registry, schemas)
	if err := add(w, "v2", v2, func(data []byte) (proto.Message, error) { return openapi_v2.ParseDocument(data) }); err != nil {
		return err
	}
	for _, gv := range registry.GroupVersions() {
		name := "v3/api/" + gv.Version
		if gv.Group != "" {
			name = "v3/apis/" + gv.String()
		}
		kinds := slices.DeleteFunc(slices.Clone(registry.All()), func(r *api.Resource) bool {
			return r.GroupVersionKind().GroupVersion() != gv
		})
		v3 := composeV3(kinds, schemas)
		if err := add(w, name, v3, func(data []byte) (proto.Message, error) { return openapi_v3.ParseDocument(data) }); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	return os.WriteFile(path, buf.Bytes(), 0o644)
}

// add writes a document as JSON and as protobuf, compressed once and for all.
func add(w *zip.Writer, name string, doc object, parse func([]byte) (proto.Message, error)) error {
	data, err := json.Marshal(doc)
	if err != nil {
		return fmt.Errorf("marshal %s: %w", name, err)
	}
	message, err := parse(data)
	if err != nil {
		return fmt.Errorf("parse %s: %w", name, err)
	}
	binary, err := proto.MarshalOptions{Deterministic: true}.Marshal(message)
	if err != nil {
		return fmt.Errorf("marshal %s: %w", name, err)
	}
	for _, f := range []struct {
		suffix  string
		content []byte
	}{{".json", data}, {".pb", binary}} {
		file, err := w.CreateHeader(&zip.FileHeader{Name: name + f.suffix, Method: zip.Store})
		if err != nil {
			return err
		}
		z, err := gzip.NewWriterLevel(file, gzip.BestCompression)
		if err != nil {
			return err
		}
		if _, err := z.Write(f.content); err != nil {
			return err
		}
		if err := z.Close(); err != nil {
			return err
		}
	}
	return nil
}
