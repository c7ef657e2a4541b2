package apiserver_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	auditapi "k8s.io/apiserver/pkg/apis/audit"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/rest"

	"github.com/gantryio/gantry/core/api"
	"github.com/gantryio/gantry/core/apiserver"
	"github.com/gantryio/gantry/core/apiserver/auditlog"
)

// journal is a backend that keeps what it is given, by the names of the requests.
type journal struct {
	mu      sync.Mutex
	events  map[string][]*auditapi.Event
	written chan struct{} // closed, and made anew, when there is another event
	deaf    bool          // takes nothing
}

func newJournal() *journal {
	return &journal{events: map[string][]*auditapi.Event{}, written: make(chan struct{})}
}

func (j *journal) ProcessEvents(events ...*auditapi.Event) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.deaf {
		return false
	}
	for _, e := range events {
		id := string(e.AuditID)
		j.events[id] = append(j.events[id], e.DeepCopy())
	}
	close(j.written)
	j.written = make(chan struct{})
	return true
}
func (j *journal) Run(<-chan struct{}) error { return nil }
func (j *journal) Shutdown()                 {}
func (j *journal) String() string            { return "journal" }

// of waits until the request has come to the stage, and returns its events.
func (j *journal) of(t testing.TB, id string, stage auditapi.Stage) []*auditapi.Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for {
		j.mu.Lock()
		events, next := j.events[id], j.written
		j.mu.Unlock()
		if slices.ContainsFunc(events, func(e *auditapi.Event) bool { return e.Stage == stage }) {
			return events
		}
		select {
		case <-next:
		case <-ctx.Done():
			t.Fatalf("%s never came to %s; there are %v", id, stage, events)
		}
	}
}

func policyOf(t testing.TB, rules string) *auditapi.Policy {
	t.Helper()
	return must(auditlog.ParsePolicy([]byte("apiVersion: audit.k8s.io/v1\nkind: Policy\n" + rules)))(t)
}

// told is what a test looks at of an event.
type told struct {
	Stage, Level, Verb, URI, User, As, Object string
	Code                                      int32
	Message                                   string
	Annotations                               map[string]string
	Request, Response                         string
}

func tell(e *auditapi.Event) told {
	out := told{Stage: string(e.Stage), Level: string(e.Level), Verb: e.Verb, URI: e.RequestURI, User: e.User.Username, Annotations: maps.Clone(e.Annotations)}
	if e.ImpersonatedUser != nil {
		out.As = e.ImpersonatedUser.Username
	}
	if o := e.ObjectRef; o != nil {
		out.Object = strings.Join([]string{o.APIGroup, o.APIVersion, o.Resource, o.Namespace, o.Name, o.Subresource}, "|")
	}
	if e.ResponseStatus != nil {
		out.Code, out.Message = e.ResponseStatus.Code, e.ResponseStatus.Message
	}
	delete(out.Annotations, "apiserver.latency.k8s.io/total") // this machine was slow
	if len(out.Annotations) == 0 {
		out.Annotations = nil
	}
	if e.RequestObject != nil {
		out.Request = string(e.RequestObject.Raw)
	}
	if e.ResponseObject != nil {
		out.Response = string(e.ResponseObject.Raw)
	}
	return out
}

const everyLevel = `
omitManagedFields: true
rules:
- {level: None, resources: [{resources: [events]}]}
- {level: Metadata, resources: [{resources: [secrets, serviceaccounts/token]}], omitStages: [RequestReceived]}
- {level: RequestResponse, resources: [{resources: [configmaps]}], omitStages: [RequestReceived]}
- {level: Request, resources: [{resources: [pods]}], omitStages: [RequestReceived]}
- {level: Metadata}
`

// TestAudit compares what is recorded of requests with what kube-apiserver records.
func TestAudit(t *testing.T) {
	j := newJournal()
	c := recordedBy(t, auditlog.New(policyOf(t, everyLevel), j))
	admin, plain := c.admin(t), c.config(t, "jane")
	allow := map[string]string{"authorization.k8s.io/decision": "allow", "authorization.k8s.io/reason": ""}
	forbid := map[string]string{"authorization.k8s.io/decision": "forbid", "authorization.k8s.io/reason": ""}
	const maps = "/api/v1/namespaces/default/configmaps"
	cm := `{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a"},"data":{"k":"v"}}`
	for _, tc := range []struct {
		name               string
		as                 *rest.Config
		method, path, body string
		header             []string
		want               []told
		part               string // of the object in the answer, in place of all of it
	}{
		{"a path", admin, "GET", "/apis", "", nil, []told{
			{Stage: "RequestReceived", Level: "Metadata", Verb: "get", URI: "/apis", User: "admin"},
			{Stage: "ResponseComplete", Level: "Metadata", Verb: "get", URI: "/apis", User: "admin", Code: 200, Annotations: allow},
		}, ""},
		{"an open path", c.config(t, ""), "GET", "/livez", "", nil, []told{
			{Stage: "RequestReceived", Level: "Metadata", Verb: "get", URI: "/livez", User: "system:anonymous"},
			{Stage: "ResponseComplete", Level: "Metadata", Verb: "get", URI: "/livez", User: "system:anonymous", Code: 200},
		}, ""},
		{"nobody", c.config(t, ""), "GET", "/api", "", nil, []told{
			{Stage: "ResponseStarted", Level: "Metadata", Verb: "get", URI: "/api", Code: 401, Message: "Unauthorized"},
		}, ""},
		{"a create", admin, "POST", maps, cm, nil, []told{
			{Stage: "ResponseComplete", Level: "RequestResponse", Verb: "create", URI: maps, User: "admin", Object: "|v1|configmaps|default|a|", Code: 201, Annotations: allow, Request: cm},
		}, `"resourceVersion":`},
		{"a patch", admin, "PATCH", maps + "/a", `{"data":{"k":"w"}}`, []string{"Content-Type", "application/merge-patch+json"}, []told{
			{Stage: "ResponseComplete", Level: "RequestResponse", Verb: "patch", URI: maps + "/a", User: "admin", Object: "|v1|configmaps|default|a|", Code: 200, Annotations: allow, Request: `{"data":{"k":"w"}}`},
		}, `"data":{"k":"w"}`},
		{"an apply", admin, "PATCH", maps + "/a?fieldManager=m&force=true", "apiVersion: v1\nkind: ConfigMap\ndata: {l: x}\n", []string{"Content-Type", "application/apply-patch+yaml"}, []told{
			{Stage: "ResponseComplete", Level: "RequestResponse", Verb: "patch", URI: maps + "/a?fieldManager=m&force=true", User: "admin", Object: "|v1|configmaps|default|a|", Code: 200, Annotations: allow, Request: `{"apiVersion":"v1","data":{"l":"x"},"kind":"ConfigMap"}`},
		}, `"data":{"k":"w","l":"x"}`},
		{"a list as protobuf", admin, "GET", maps + "?limit=500", "", []string{"Accept", "application/vnd.kubernetes.protobuf"}, []told{
			{Stage: "ResponseComplete", Level: "RequestResponse", Verb: "list", URI: maps + "?limit=500", User: "admin", Object: "|v1|configmaps|default||", Code: 200, Annotations: allow},
		}, `"kind":"ConfigMapList"`},
		{"a table", admin, "GET", maps, "", []string{"Accept", "application/json;as=Table;v=v1;g=meta.k8s.io"}, []told{
			{Stage: "ResponseComplete", Level: "RequestResponse", Verb: "list", URI: maps, User: "admin", Object: "|v1|configmaps|default||", Code: 200, Annotations: allow},
		}, `"kind":"Table"`},
		{"what is not there", admin, "GET", maps + "/none", "", nil, []told{
			{Stage: "ResponseComplete", Level: "RequestResponse", Verb: "get", URI: maps + "/none", User: "admin", Object: "|v1|configmaps|default|none|", Code: 404, Message: `configmaps "none" not found`, Annotations: allow},
		}, `"kind":"Status"`},
		{"what is not allowed", plain, "DELETE", maps + "/a", "", nil, []told{
			{
				Stage: "ResponseComplete", Level: "RequestResponse", Verb: "delete", URI: maps + "/a", User: "jane", Object: "|v1|configmaps|default|a|", Code: 403,
				Message: `configmaps "a" is forbidden: User "jane" cannot delete resource "configmaps" in API group "" in the namespace "default"`, Annotations: forbid,
			},
		}, `"reason":"Forbidden"`},
		{"as somebody else", admin, "DELETE", maps + "/a", `{"kind":"DeleteOptions","apiVersion":"v1","gracePeriodSeconds":0}`, []string{"Impersonate-User", "jo", "Impersonate-Group", "system:masters"}, []told{
			{Stage: "ResponseComplete", Level: "RequestResponse", Verb: "delete", URI: maps + "/a", User: "admin", As: "jo", Object: "|v1|configmaps|default|a|", Code: 200, Annotations: allow, Request: `{"kind":"DeleteOptions","apiVersion":"v1","gracePeriodSeconds":0}`},
		}, `"status":"Success"`},
		{"no such resource", admin, "GET", "/api/v1/namespaces/default/nothings/a", "", nil, []told{
			{Stage: "RequestReceived", Level: "Metadata", Verb: "get", URI: "/api/v1/namespaces/default/nothings/a", User: "admin", Object: "|v1|nothings|default|a|"},
			{Stage: "ResponseComplete", Level: "Metadata", Verb: "get", URI: "/api/v1/namespaces/default/nothings/a", User: "admin", Object: "|v1|nothings|default|a|", Code: 404, Message: "the server could not find the requested resource"},
		}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			id := "test-" + strings.ReplaceAll(tc.name, " ", "-")
			got := c.raw(t, tc.as, tc.method, tc.path, tc.body, append(tc.header, "Audit-ID", id)...)
			if name := got.Header.Get("Audit-ID"); name != id {
				t.Errorf("the answer is called %q, want %q", name, id)
			}
			last := tc.want[len(tc.want)-1]
			var have []told
			for _, e := range j.of(t, id, auditapi.Stage(last.Stage)) {
				one := tell(e)
				if tc.part != "" && !strings.Contains(one.Response, tc.part) || strings.Contains(one.Response, "managedFields") {
					t.Errorf("the answer is recorded as %s, want %s in it", one.Response, tc.part)
				}
				if tc.part != "" {
					one.Response = ""
				}
				have = append(have, one)
			}
			if diff := cmp.Diff(tc.want, have); diff != "" {
				t.Errorf("recorded (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("nothing", func(t *testing.T) {
		if got := c.raw(t, admin, "GET", "/api/v1/events", "", "Audit-ID", "silent"); got.Code != 200 || got.Header.Get("Audit-ID") != "silent" {
			t.Errorf("got %d %q", got.Code, got.Header)
		}
		j.mu.Lock()
		defer j.mu.Unlock()
		if events := j.events["silent"]; events != nil {
			t.Errorf("recorded %v", events)
		}
	})
	t.Run("counted", func(t *testing.T) {
		got := string(c.request(t, "GET", "/metrics", "").Body)
		for _, want := range []string{"apiserver_audit_event_total ", `apiserver_audit_level_total{level="None"} `, `apiserver_audit_level_total{level="RequestResponse"} `} {
			if !strings.Contains(got, want) {
				t.Errorf("there is no %s in /metrics", want)
			}
		}
	})
	t.Run("a watch", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		client := must(rest.HTTPClientFor(admin))(t)
		req := must(http.NewRequestWithContext(ctx, "GET", c.web.URL+"/api/v1/pods?watch=true", nil))(t)
		req.Header.Set("Audit-ID", "watch")
		resp := must(client.Do(req))(t)
		j.of(t, "watch", auditapi.StageResponseStarted)
		resp.Body.Close()
		cancel()
		var stages []string
		for _, e := range j.of(t, "watch", auditapi.StageResponseComplete) {
			stages = append(stages, fmt.Sprint(e.Stage, " ", e.Verb, " ", e.ResponseStatus.Code))
		}
		if diff := cmp.Diff([]string{"ResponseStarted watch 200", "ResponseComplete watch 200"}, stages); diff != "" {
			t.Errorf("stages (-want +got):\n%s", diff)
		}
	})
}

// TestAuditKeepsSecrets looks at level Metadata for what only others may know, in answers and in errors.
func TestAuditKeepsSecrets(t *testing.T) {
	j := newJournal()
	c := recordedBy(t, auditlog.New(policyOf(t, everyLevel), j))
	const secrets, hidden = "/api/v1/namespaces/default/secrets", "aGlkZGVu"
	for i, r := range []struct{ method, path, kind, body string }{
		{"POST", secrets, "json", `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"s"},"data":{"k":"` + hidden + `"}}`},
		{"GET", secrets, "json", ""},
		{"PATCH", secrets + "/s", "strategic-merge-patch+json", `{"data":{"k":["` + hidden + `"]}}`},
		{"PATCH", secrets + "/s", "merge-patch+json", `{"data":{"k":["` + hidden + `"]}}`},
		{"PATCH", secrets + "/s", "merge-patch+json", `{"type":"` + hidden + `"}`},
		{"POST", secrets, "json", `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"t"},"data":"` + hidden + `"}`},
		{"PUT", secrets + "/s", "json", `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"s"},"type":"` + hidden + `"}`},
		{"DELETE", secrets + "/s", "json", ""},
	} {
		id := fmt.Sprint("secret-", i)
		got := c.request(t, r.method, r.path, r.body, "Content-Type", "application/"+r.kind, "Audit-ID", id)
		for _, e := range j.of(t, id, auditapi.StageResponseComplete) {
			if text := string(must(json.Marshal(e))(t)); strings.Contains(text, hidden) || e.ResponseStatus.Code != int32(got.Code) {
				t.Errorf("%s %s was answered with %d and recorded as %s", r.method, r.path, got.Code, text)
			}
		}
	}
}

// TestAuditStrict refuses requests of which nothing can be recorded.
func TestAuditStrict(t *testing.T) {
	j := newJournal()
	c := recordedBy(t, auditlog.New(policyOf(t, everyLevel), j))
	j.mu.Lock()
	j.deaf = true
	j.mu.Unlock()
	if got := c.request(t, "GET", "/apis", ""); got.Code != 500 || !strings.Contains(string(got.Body), "failed to store audit event") {
		t.Errorf("got %d %s", got.Code, got.Body)
	}
}

// TestAuditInProcess: what parts of the process write is recorded as if it had come over HTTP.
func TestAuditInProcess(t *testing.T) {
	j := newJournal()
	c := recordedBy(t, auditlog.New(policyOf(t, everyLevel), j))
	verbs := apiserver.Recorded{Server: c.api}
	ask := func(resource, name string) *api.Request {
		q := c.in(resource, "default", name)
		q.User, q.Manager = &user.DefaultInfo{Name: "a-controller"}, "controller"
		return q
	}
	ctx := t.Context()
	obj := configMap("p", "k", "v")
	obj.Namespace = "default"
	must(verbs.Create(ctx, ask("configmaps", ""), obj))(t)
	if _, _, err := verbs.Patch(ctx, ask("configmaps", "p"), api.Patch{Type: "application/merge-patch+json", Data: []byte(`{"data":{}}`)}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := verbs.Delete(ctx, ask("configmaps", "p"), &metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := verbs.Delete(ctx, ask("configmaps", "p"), nil); err == nil {
		t.Fatal("deleted it twice")
	}
	token := ask("serviceaccounts", "nobody")
	token.Subresource = "token"
	if _, err := verbs.RunSubresource(ctx, token, &authenticationv1.TokenRequest{}); err == nil {
		t.Fatal("made a token of nothing")
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	var have []told
	for _, events := range j.events {
		for _, e := range events {
			if len(e.SourceIPs) != 1 || e.SourceIPs[0] != "127.0.0.1" || e.UserAgent != "gantry/controller" {
				t.Errorf("it came from %v, %q", e.SourceIPs, e.UserAgent)
			}
			one := tell(e)
			one.Request, one.Response = "", ""
			have = append(have, one)
		}
	}
	slices.SortFunc(have, func(a, b told) int { return strings.Compare(a.Verb+a.URI+a.Message, b.Verb+b.URI+b.Message) })
	const path = "/api/v1/namespaces/default/configmaps"
	one := told{Stage: "ResponseComplete", Level: "RequestResponse", User: "a-controller", Object: "|v1|configmaps|default|p|"}
	want := []told{one, one, one, one, one}
	want[0].Verb, want[0].URI, want[0].Code = "create", path, 201
	want[1].Verb, want[1].URI, want[1].Code, want[1].Object = "create", "/api/v1/namespaces/default/serviceaccounts/nobody/token", 405, "|v1|serviceaccounts|default|nobody|token"
	want[1].Message, want[1].Level = `create is not supported on resources of kind "serviceaccounts/token"`, "Metadata"
	want[2].Verb, want[2].URI, want[2].Code = "delete", path+"/p", 200
	want[3].Verb, want[3].URI, want[3].Code, want[3].Message = "delete", path+"/p", 404, `configmaps "p" not found`
	want[4].Verb, want[4].URI, want[4].Code = "patch", path+"/p", 200
	if diff := cmp.Diff(want, have); diff != "" {
		t.Errorf("recorded (-want +got):\n%s", diff)
	}
}
