//go:build e2e

package api_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
)

const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: None, users: ["system:anonymous"]}
- {level: Metadata, resources: [{group: "", resources: [secrets]}]}
- {level: RequestResponse, resources: [{group: "", resources: [configmaps, serviceaccounts]}]}
`

// TestAuditLog has a user work with kubectl, and looks for it, and for what controllers did meanwhile, in the log.
func TestAuditLog(t *testing.T) {
	dir := t.TempDir()
	policy, log := filepath.Join(dir, "policy.yaml"), filepath.Join(dir, "audit", "log")
	if err := os.WriteFile(policy, []byte(auditPolicy), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &server{data: t.TempDir(), port: 6449, flags: []string{"--audit-policy-file", policy, "--audit-log-path", log}}
	s.start(t)
	kubectl := func(args ...string) {
		t.Helper()
		cmd := exec.Command("../../bin/kubectl", append([]string{"--kubeconfig", filepath.Join(s.data, "admin.kubeconfig"), "--server", fmt.Sprint("https://127.0.0.1:", s.port)}, args...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("kubectl %v: %v: %s", args, err, out)
		}
	}
	kubectl("create", "namespace", "audited")
	kubectl("-n", "audited", "create", "secret", "generic", "hidden", "--from-literal=k=open-sesame")
	kubectl("-n", "audited", "create", "configmap", "seen", "--from-literal=k=in-plain-sight", "--as=jane", "--as-group=system:masters")
	kubectl("-n", "audited", "get", "secrets")
	wanted := []string{
		"kubectl create secrets hidden Metadata kubernetes-admin 201",
		"kubectl list secrets Metadata kubernetes-admin 200",
		"kubectl create configmaps seen RequestResponse jane 201 in-plain-sight",
		"gantry create serviceaccounts default RequestResponse system:serviceaccount:kube-system:serviceaccount-controller 201",
	}
	eventually(t, 30*time.Second, func() error {
		have := auditEvents(t, log)
		for _, w := range wanted {
			if !slices.Contains(have, w) {
				return fmt.Errorf("there is no %q among %q", w, have)
			}
		}
		return nil
	})
	metrics, err := s.client(t).CoreV1().RESTClient().Get().AbsPath("/metrics").DoRaw(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"apiserver_audit_event_total ", "controller_runtime_reconcile_total{", "workqueue_depth{", "apiserver_storage_size_bytes{", "apiserver_request_total{"} {
		if !bytes.Contains(metrics, []byte("\n"+name)) {
			t.Errorf("there is no %s in /metrics", name)
		}
	}
	data, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"open-sesame", "b3Blbi1zZXNhbWU"} {
		if bytes.Contains(data, []byte(secret)) {
			t.Errorf("%s is in the log", secret)
		}
	}
}

// auditEvents are the events of the namespace in short.
func auditEvents(t *testing.T, path string) []string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e auditv1.Event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			continue // the line is still being written
		}
		if e.ObjectRef == nil || e.ObjectRef.Namespace != "audited" || e.ResponseStatus == nil {
			continue
		}
		agent, _, _ := strings.Cut(e.UserAgent, "/")
		who := e.User.Username
		if e.ImpersonatedUser != nil {
			who = e.ImpersonatedUser.Username
		}
		words := []string{agent, e.Verb, e.ObjectRef.Resource}
		if e.ObjectRef.Name != "" {
			words = append(words, e.ObjectRef.Name)
		}
		words = append(words, string(e.Level), who, fmt.Sprint(e.ResponseStatus.Code))
		if e.ResponseObject != nil && bytes.Contains(e.ResponseObject.Raw, []byte("in-plain-sight")) {
			words = append(words, "in-plain-sight")
		}
		out = append(out, strings.Join(words, " "))
	}
	return out
}
