package apiserver_test

import (
	"net/http"
	"strings"
	"testing"
)

const (
	ownPath = "/apis/plugins.gantry.dev/v1alpha1/plugins"
	ownBody = `{"apiVersion":"plugins.gantry.dev/v1alpha1","kind":"Plugin","metadata":{"name":"own"},` +
		`"spec":{"type":"Network","source":{"builtin":"cni"},"config":{"mtu":1400}}}`
)

// Gantry's own kinds have no protobuf form, and no schema in client-go.
func TestOwnKinds(t *testing.T) {
	created := shared.request(t, http.MethodPost, ownPath, ownBody, "Accept", "application/vnd.kubernetes.protobuf,application/json")
	if created.Code != http.StatusCreated || !strings.HasPrefix(created.Header.Get("Content-Type"), "application/json") {
		t.Fatalf("create: %d %s %s", created.Code, created.Header.Get("Content-Type"), created.Body)
	}
	for _, part := range []string{`"config":{"mtu":1400}`, `"healthTimeoutSeconds":60`, `"f:config":`} {
		if !strings.Contains(string(created.Body), part) {
			t.Errorf("no %s in %s", part, created.Body)
		}
	}
	refused := shared.request(t, http.MethodPost, ownPath, "k8s\x00", "Content-Type", "application/vnd.kubernetes.protobuf")
	if refused.Code != http.StatusUnsupportedMediaType {
		t.Errorf("protobuf: %d %s", refused.Code, refused.Body)
	}
	only := shared.request(t, http.MethodGet, ownPath, "", "Accept", "application/vnd.kubernetes.protobuf")
	if only.Code != http.StatusNotAcceptable {
		t.Errorf("accepting protobuf only: %d", only.Code)
	}
	applied := shared.request(t, http.MethodPatch, ownPath+"/own?fieldManager=a&force=true",
		strings.Replace(ownBody, `"mtu":1400`, `"mtu":9000`, 1), "Content-Type", "application/apply-patch+yaml")
	if applied.Code != http.StatusOK || !strings.Contains(string(applied.Body), `"mtu":9000`) {
		t.Errorf("apply: %d %s", applied.Code, applied.Body)
	}
	bad := shared.request(t, http.MethodPatch, ownPath+"/own?fieldManager=a&force=true",
		strings.Replace(ownBody, `"source"`, `"sauce"`, 1), "Content-Type", "application/apply-patch+yaml")
	if !strings.Contains(string(bad.Body), "sauce") || bad.Code < 400 {
		t.Errorf("apply of an unknown field: %d %s", bad.Code, bad.Body)
	}
}

func TestOwnKindsSurviveARestart(t *testing.T) {
	dir := t.TempDir()
	first, stop, err := startCluster(dir)
	if err != nil {
		t.Fatal(err)
	}
	created := first.request(t, http.MethodPost, ownPath, ownBody)
	stop()
	if created.Code != http.StatusCreated {
		t.Fatalf("create: %d %s", created.Code, created.Body)
	}
	second, stop, err := startCluster(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	if got := second.request(t, http.MethodGet, ownPath+"/own", ""); string(got.Body) != string(created.Body) {
		t.Errorf("after the restart: %s, was %s", got.Body, created.Body)
	}
}
