package openapi_test

import (
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gantryio/gantry/core/api/all"
	"github.com/gantryio/gantry/core/api/openapi"
)

func get(t *testing.T, path, accept string) *httptest.ResponseRecorder {
	t.Helper()
	req := httptest.NewRequest("GET", path, nil)
	req.Header.Set("Accept", accept)
	w := httptest.NewRecorder()
	openapi.Handler{}.ServeHTTP(w, req)
	return w
}

// A kind that is missing here was added without `go generate ./core/api/openapi`.
func TestEveryKindIsDescribed(t *testing.T) {
	var index struct {
		Paths map[string]struct {
			URL string `json:"serverRelativeURL"`
		}
	}
	if err := json.Unmarshal(get(t, "/openapi/v3", "").Body.Bytes(), &index); err != nil {
		t.Fatal(err)
	}
	for _, r := range all.Kinds().All() {
		base := "api/" + r.Version
		if r.Group != "" {
			base = "apis/" + r.Group + "/" + r.Version
		}
		url, _, _ := strings.Cut(index.Paths[base].URL, "?")
		var doc struct {
			Paths      map[string]map[string]any
			Components struct{ Schemas map[string]any }
		}
		if err := json.Unmarshal(get(t, url, "application/json").Body.Bytes(), &doc); err != nil {
			t.Errorf("%s: %v", base, err)
			continue
		}
		path := "/" + base + "/" + r.Plural + "/{name}"
		if r.Namespaced {
			path = "/" + base + "/namespaces/{namespace}/" + r.Plural + "/{name}"
		}
		verb := "patch"
		if r.Computed {
			verb = "get"
		}
		if r.Question {
			verb, path = "post", strings.TrimSuffix(path, "/{name}")
		}
		if doc.Paths[path][verb] == nil {
			t.Errorf("%s: no %s at %s", r.Kind, verb, path)
		}
	}
}

func TestDocumentsAreServedInBothForms(t *testing.T) {
	for _, tt := range []struct{ path, accept, want string }{
		{"/openapi/v2", "application/json", "application/json"},
		{"/openapi/v2", "application/com.github.proto-openapi.spec.v2@v1.0+protobuf", "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"},
		{"/openapi/v3/apis/apps/v1", "application/com.github.proto-openapi.spec.v3@v1.0+protobuf", "application/com.github.proto-openapi.spec.v3.v1.0+protobuf"},
	} {
		w := get(t, tt.path, tt.accept)
		if got := w.Header().Get("Content-Type"); w.Code != 200 || got != tt.want || w.Body.Len() == 0 {
			t.Errorf("%s as %s: %d %s, %d bytes", tt.path, tt.accept, w.Code, got, w.Body.Len())
		}
	}
	if w := get(t, "/openapi/v3/apis/nothing/v1", ""); w.Code != 404 {
		t.Errorf("an unknown document: %d", w.Code)
	}
}
