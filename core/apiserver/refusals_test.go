package apiserver_test

import (
	"bytes"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

func TestBadRequests(t *testing.T) {
	ns := shared.namespace(t)
	maps := "/api/v1/namespaces/" + ns + "/configmaps"
	for _, c := range []struct {
		name, method, path, body string
		header                   []string
		code                     int32
		reason                   metav1.StatusReason
		part                     string
	}{
		{name: "unknown path", method: "GET", path: "/nowhere", code: 404, reason: "NotFound", part: "the server could not find the requested resource"},
		{name: "unknown resource", method: "GET", path: "/api/v1/widgets", code: 404, reason: "NotFound", part: "the server could not find the requested resource"},
		{name: "unknown group", method: "GET", path: "/apis/none/v1/widgets", code: 404, reason: "NotFound"},
		{name: "unknown version", method: "GET", path: "/apis/apps/v1beta1", code: 404, reason: "NotFound"},
		{name: "unknown subresource", method: "GET", path: maps + "/a/status", code: 404, reason: "NotFound"},
		{name: "too deep", method: "GET", path: maps + "/a/b/c", code: 404, reason: "NotFound"},
		{name: "a namespaced cluster kind", method: "GET", path: "/api/v1/namespaces/" + ns + "/nodes", code: 404, reason: "NotFound"},
		{name: "wrong method", method: "POST", path: maps + "/a", code: 405, reason: "MethodNotAllowed", part: `post is not supported on resources of kind "configmaps"`},
		{name: "put of a list", method: "PUT", path: maps, code: 405, reason: "MethodNotAllowed"},
		{name: "create everywhere", method: "POST", path: "/api/v1/configmaps", body: `{}`, code: 405, reason: "MethodNotAllowed"},
		{name: "delete everywhere", method: "DELETE", path: "/api/v1/configmaps", code: 405, reason: "MethodNotAllowed"},
		{name: "get of a binding", method: "GET", path: "/api/v1/namespaces/" + ns + "/pods/a/binding", code: 405, reason: "MethodNotAllowed"},
		{name: "content type", method: "POST", path: maps, body: "x", header: []string{"Content-Type", "text/csv"}, code: 415, reason: "UnsupportedMediaType", part: "accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf"},
		{name: "table of an answer", method: "POST", path: "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", header: []string{"Accept", "application/json;as=Table;v=v1;g=meta.k8s.io"}, body: `{"spec":{"nonResourceAttributes":{"path":"/","verb":"get"}}}`, code: 406, reason: "NotAcceptable", part: "only the following media types are accepted: application/json"},
		{name: "accept", method: "GET", path: maps, header: []string{"Accept", "text/csv"}, code: 406, reason: "NotAcceptable", part: "only the following media types are accepted: application/json"},
		{name: "no JSON", method: "POST", path: maps, body: "{", code: 400, reason: "BadRequest", part: `ConfigMap in version "v1" cannot be handled as a ConfigMap`},
		{name: "wrong type", method: "POST", path: maps, body: `{"metadata":{"name":"a"},"data":{"k":5}}`, code: 400, reason: "BadRequest", part: "json: cannot unmarshal number into Go struct field ConfigMap.data of type string"},
		{name: "wrong kind", method: "POST", path: maps, body: `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"a"}}`, code: 400, reason: "BadRequest", part: "cannot be handled as a ConfigMap"},
		{name: "wrong version", method: "POST", path: maps, body: `{"apiVersion":"v2","kind":"ConfigMap","metadata":{"name":"a"}}`, code: 400, reason: "BadRequest", part: "v2"},
		{name: "no protobuf", method: "POST", path: maps, body: "{}", header: []string{"Content-Type", "application/vnd.kubernetes.protobuf"}, code: 400, reason: "BadRequest", part: "does not appear to be a protobuf message"},
		{name: "too long", method: "POST", path: maps, body: strings.Repeat("x", 3<<20+1), code: 413, reason: "RequestEntityTooLarge", part: "limit is 3145728"},
		{name: "negative replicas", method: "POST", path: "/apis/apps/v1/namespaces/" + ns + "/deployments", body: `{"metadata":{"name":"d"},"spec":{"replicas":-1,"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}}`, code: 422, reason: "Invalid", part: `Deployment.apps "d" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0`},
		{name: "no host", method: "GET", path: "/api/v1/namespaces/" + ns + "/pods/none/log", code: 404, reason: "NotFound", part: `pods "none" not found`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := shared.request(t, c.method, c.path, c.body, c.header...)
			s := got.status(t)
			if s.Code != c.code || int32(got.Code) != c.code || s.Reason != c.reason || !strings.Contains(s.Message, c.part) || s.Status != metav1.StatusFailure {
				t.Errorf("got %d %s %q, want %d %s %q", s.Code, s.Reason, s.Message, c.code, c.reason, c.part)
			}
		})
	}
}

func TestStreamsOfAnUnscheduledPod(t *testing.T) {
	ns := shared.namespace(t)
	must(shared.typed(t).CoreV1().Pods(ns).Create(t.Context(), pod("p"), metav1.CreateOptions{}))(t)
	for _, sub := range []string{"log", "exec?command=ls", "attach", "portforward?ports=80"} {
		s := shared.request(t, "GET", "/api/v1/namespaces/"+ns+"/pods/p/"+sub, "").status(t)
		if s.Code != 400 || s.Message != "pod p does not have a host assigned" {
			t.Errorf("%s: %d %s", sub, s.Code, s.Message)
		}
	}
}

func TestWhoMayDoWhat(t *testing.T) {
	nobody, other := shared.config(t, ""), shared.config(t, "jane", "staff")
	for _, path := range []string{"/healthz", "/livez", "/readyz", "/readyz/ping", "/version"} {
		if got := shared.raw(t, nobody, "GET", path, ""); got.Code != 200 {
			t.Errorf("%s without credentials: %d %s", path, got.Code, got.Body)
		}
	}
	for _, path := range []string{"/", "/api", "/apis", "/api/v1/pods", "/metrics", "/openapi/v2", "/debug/pprof/", "/nowhere", "/healthzz"} {
		if s := shared.raw(t, nobody, "GET", path, "").status(t); s.Code != 401 || s.Reason != metav1.StatusReasonUnauthorized || s.Message != "Unauthorized" {
			t.Errorf("%s without credentials: %d %s", path, s.Code, s.Message)
		}
	}
	token := rest.CopyConfig(nobody)
	token.BearerToken = "wrong"
	if s := shared.raw(t, token, "GET", "/api/v1/pods", "").status(t); s.Code != 401 {
		t.Errorf("with a wrong token: %d", s.Code)
	}
	for path, want := range map[string]string{
		"/api/v1/namespaces/default/pods":       `pods is forbidden: User "jane" cannot list resource "pods" in API group "" in the namespace "default"`,
		"/api/v1/namespaces/default/pods/a":     `pods "a" is forbidden: User "jane" cannot get resource "pods" in API group "" in the namespace "default"`,
		"/api/v1/namespaces/default/pods/a/log": `pods "a" is forbidden: User "jane" cannot get resource "pods/log" in API group "" in the namespace "default"`,
		"/api/v1/nodes?watch=1":                 `nodes is forbidden: User "jane" cannot watch resource "nodes" in API group "" at the cluster scope`,
		"/apis/apps/v1/deployments":             `deployments.apps is forbidden: User "jane" cannot list resource "deployments" in API group "apps" at the cluster scope`,
		"/metrics":                              `forbidden: User "jane" cannot get path "/metrics"`,
	} {
		if s := shared.raw(t, other, "GET", path, "").status(t); s.Code != 403 || s.Reason != metav1.StatusReasonForbidden || s.Message != want {
			t.Errorf("%s: %d %s, want %s", path, s.Code, s.Message, want)
		}
	}
}

func TestACertificateOfAnotherAuthorityIsRefused(t *testing.T) {
	foreign := &cluster{authority: otherAuthority(t), web: shared.web}
	config := foreign.config(t, "admin", "system:masters")
	config.CAData = shared.authority.CertPEM
	client := must(rest.HTTPClientFor(config))(t)
	resp, err := client.Get(shared.web.URL + "/api")
	if err == nil {
		defer resp.Body.Close()
		t.Errorf("answered with %d", resp.StatusCode)
	}
}

func TestImpersonation(t *testing.T) {
	as := func(user string, groups ...string) *rest.Config {
		config := shared.admin(t)
		config.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: groups}
		return config
	}
	if s := shared.raw(t, as("jane"), "GET", "/api/v1/nodes", "").status(t); s.Code != 403 || !strings.Contains(s.Message, `User "jane" cannot list`) {
		t.Errorf("as jane: %d %s", s.Code, s.Message)
	}
	if got := shared.raw(t, as("jane", "system:masters"), "GET", "/api/v1/nodes", ""); got.Code != 200 {
		t.Errorf("as a master: %d", got.Code)
	}
	plain := shared.config(t, "jane", "staff")
	if s := shared.raw(t, plain, "GET", "/api", "", "Impersonate-User", "admin").status(t); s.Code != 403 || s.Message != `users "admin" is forbidden: User "jane" cannot impersonate resource "users" in API group "" at the cluster scope` {
		t.Errorf("without the right: %d %s", s.Code, s.Message)
	}
}

func TestHealthAndVersion(t *testing.T) {
	if got := shared.request(t, "GET", "/readyz?verbose", ""); !bytes.Equal(got.Body, []byte("[+]ping ok\nreadyz check passed\n")) {
		t.Errorf("verbose: %s", got.Body)
	}
	if got := shared.request(t, "GET", "/readyz/none", ""); got.Code != 404 {
		t.Errorf("unknown check: %d", got.Code)
	}
	version := must(shared.typed(t).Discovery().ServerVersion())(t)
	if version.GitVersion != "v1.37.2+gantry" || version.Major != "1" || version.Minor != "37" {
		t.Errorf("version %+v", version)
	}
	if got := shared.request(t, "GET", "/metrics", ""); !bytes.Contains(got.Body, []byte(`apiserver_request_total{`)) {
		t.Errorf("metrics: %d", got.Code)
	}
}
