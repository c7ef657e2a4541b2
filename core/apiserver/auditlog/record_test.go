package auditlog

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

// lines are what a log file has after a request that handler serves.
func lines(t *testing.T, flags []string, lasting bool, handler http.HandlerFunc) []string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "audit.log")
	flags = append([]string{"--audit-policy-file=" + written(t, head+"rules: [{level: Metadata}]\n"), "--audit-log-path=" + path}, flags...)
	l, err := opened(t, flags...)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = l.Run(ctx)
	}()
	func() {
		defer func() { _ = recover() }()
		req := httptest.NewRequest("GET", "/metrics", nil)
		in, record, err := l.Begin(req, ID(req), &authorizer.AttributesRecord{User: &user.DefaultInfo{Name: "jane"}, Verb: "get", Path: "/metrics"}, lasting)
		if err != nil {
			t.Error(err)
			return
		}
		defer record.End(in)
		if err := record.Received(in); err != nil {
			t.Error(err)
			return
		}
		handler(record.Writer(httptest.NewRecorder()), req.WithContext(in))
	}()
	cancel()
	<-ended // by then all is written, in batches too
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("others may read the log: %v %v", info.Mode(), err)
	}
	return strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
}

func TestStages(t *testing.T) {
	for _, tc := range []struct {
		name    string
		flags   []string
		lasting bool
		handler http.HandlerFunc
		want    []string
	}{
		{"an answer", nil, false, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) }, []string{"RequestReceived 0", "ResponseComplete 404"}},
		{"a body alone", []string{"--audit-log-mode=batch"}, false, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(nil) }, []string{"RequestReceived 0", "ResponseComplete 200"}},
		{"early hints", nil, true, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(103); w.WriteHeader(500) }, []string{"RequestReceived 0", "ResponseStarted 500", "ResponseComplete 500"}},
		{"a stream", []string{"--audit-log-truncate-enabled"}, true, func(w http.ResponseWriter, _ *http.Request) { _ = http.NewResponseController(w).Flush() }, []string{"RequestReceived 0", "ResponseStarted 200", "ResponseComplete 200"}},
		{"no answer", nil, true, func(http.ResponseWriter, *http.Request) {}, []string{"RequestReceived 0", "ResponseStarted 200", "ResponseComplete 200"}},
		{"a panic", nil, false, func(http.ResponseWriter, *http.Request) { panic("oh") }, []string{"RequestReceived 0", "Panic 500 APIServer panic'd: oh"}},
		{"a panic that was caught", []string{"--audit-log-maxsize=0"}, false, func(w http.ResponseWriter, _ *http.Request) { Of(w).Panicked("oh"); w.WriteHeader(500) }, []string{"RequestReceived 0", "Panic 500 APIServer panic'd: oh"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var got []string
			for _, line := range lines(t, tc.flags, tc.lasting, tc.handler) {
				var e struct {
					APIVersion, Kind, Stage string
					ResponseStatus          struct {
						Code    json.Number
						Message string
					}
				}
				if err := json.Unmarshal([]byte(line), &e); err != nil || e.APIVersion != version || e.Kind != "Event" {
					t.Errorf("%s: %v", line, err)
				}
				code := e.ResponseStatus.Code.String()
				if code == "" {
					code = "0"
				}
				message := strings.TrimPrefix(" "+e.ResponseStatus.Message, " Connection closed early")
				got = append(got, strings.TrimSpace(e.Stage+" "+code+message))
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("stages (-want +got):\n%s", diff)
			}
		})
	}
	text := lines(t, []string{"--audit-log-format=legacy"}, false, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(200) })
	if len(text) != 2 || !strings.Contains(text[1], `stage="ResponseComplete"`) || !strings.Contains(text[1], `user="jane"`) {
		t.Errorf("legacy lines: %q", text)
	}
}

func TestWithoutManagedFields(t *testing.T) {
	for in, want := range map[string]string{
		`{"metadata":{"name":"a","managedFields":[{}]},"n":9007199254740993}`:   `{"metadata":{"name":"a"},"n":9007199254740993}`,
		`{"items":[{"metadata":{"managedFields":[{}]}},{"metadata":{}}]}`:       `{"items":[{"metadata":{}},{"metadata":{}}]}`,
		`{"rows":[{"cells":[1],"object":{"metadata":{"managedFields":[{}]}}}]}`: `{"rows":[{"cells":[1],"object":{"metadata":{}}}]}`,
		`{"broken`: ``,
	} {
		if got := string(withoutManagedFields([]byte(in))); got != want {
			t.Errorf("%s became %s, want %s", in, got, want)
		}
	}
}

// TestWebhook sends events in batches to a server that refuses the first ones, which are sent again.
func TestWebhook(t *testing.T) {
	got := make(chan []string, 10)
	refuse := make(chan struct{}, 1)
	refuse <- struct{}{}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		select {
		case <-refuse:
			http.Error(w, "not now", http.StatusInternalServerError)
			return
		default:
		}
		var list struct {
			Kind  string
			Items []struct{ AuditID, Stage string }
		}
		if err := json.NewDecoder(req.Body).Decode(&list); err != nil || list.Kind != "EventList" {
			t.Errorf("got a %s: %v", list.Kind, err)
		}
		var events []string
		for _, e := range list.Items {
			events = append(events, e.AuditID+" "+e.Stage)
		}
		got <- events
	}))
	defer web.Close()
	config := "apiVersion: v1\nkind: Config\nclusters: [{name: a, cluster: {server: '" + web.URL + "'}}]\ncontexts: [{name: a, context: {cluster: a, user: a}}]\nusers: [{name: a}]\ncurrent-context: a\n"
	l, err := opened(t, "--audit-policy-file="+written(t, head+"rules: [{level: Metadata}]\n"), "--audit-webhook-config-file="+written(t, config),
		"--audit-webhook-batch-max-size=2", "--audit-webhook-initial-backoff=1ms")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = l.Run(ctx)
	}()
	req := httptest.NewRequest("GET", "/metrics", nil)
	in, record, err := l.Begin(req, "one", &authorizer.AttributesRecord{Verb: "get", Path: "/metrics"}, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := record.Received(in); err != nil {
		t.Fatal(err)
	}
	record.End(in)
	if diff := cmp.Diff([]string{"one RequestReceived", "one ResponseComplete"}, <-got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	cancel()
	<-ended
}
