package stream

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	statsv1alpha1 "k8s.io/kubelet/pkg/apis/stats/v1alpha1"

	"github.com/gantryio/gantry/core/agent/logs"
)

// onePod serves one pod with a log and a runtime that streams somewhere.
type onePod struct {
	log    string
	target *url.URL
	asked  ExecRequest
}

var _ Pods = (*onePod)(nil)

func (p *onePod) ContainerLog(_, name, _ string, _ bool) (LogRef, error) {
	if name != "web" {
		return LogRef{}, fmt.Errorf("pod %q: %w", name, ErrNotFound)
	}
	return LogRef{Path: p.log}, nil
}

func (p *onePod) Exec(_ context.Context, _, _, _ string, r ExecRequest) (*url.URL, error) {
	p.asked = r
	return p.target, nil
}

func (p *onePod) Attach(context.Context, string, string, string, ExecRequest) (*url.URL, error) {
	return nil, errors.New("broken")
}

func (p *onePod) PortForward(context.Context, string, string, string, []int32) (*url.URL, error) {
	return p.target, nil
}
func (p *onePod) List() []*corev1.Pod { return nil }
func (p *onePod) Stats(context.Context) (*statsv1alpha1.Summary, error) {
	return &statsv1alpha1.Summary{}, nil
}
func (p *onePod) Healthy(context.Context) error { return nil }

type onlyLogs struct{}

func (onlyLogs) Authorize(_ context.Context, u user.Info, verb, sub string) error {
	if u.GetName() == "reader" && verb == "get" && sub == "log" {
		return nil
	}
	return errors.New("no")
}

// as lets a handler believe that a client certificate was verified.
func as(h http.Handler, name string, groups ...string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if name != "" {
			cert := &x509.Certificate{Subject: pkix.Name{CommonName: name, Organization: groups}}
			r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert}, VerifiedChains: [][]*x509.Certificate{{cert}}}
		}
		h.ServeHTTP(w, r)
	})
}

func TestWhoMayDoWhat(t *testing.T) {
	path := filepath.Join(t.TempDir(), "0.log")
	if err := os.WriteFile(path, []byte("2030-01-01T00:00:01Z stdout F one\n2030-01-01T00:00:02Z stdout F two\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	h := (&Server{Pods: &onePod{log: path}, Authorizer: onlyLogs{}}).Handler()
	for _, tc := range []struct {
		name, user, group, path string
		code                    int
		body                    string
	}{
		{"nobody", "", "", "/containerLogs/ns/web/app", 401, ""},
		{"a reader", "reader", "", "/containerLogs/ns/web/app?tailLines=1", 200, "two\n"},
		{"a reader who wants more", "reader", "", "/pods", 403, ""},
		{"a master", "admin", "system:masters", "/pods", 200, `"kind":"PodList"`},
		{"health", "admin", "system:masters", "/healthz", 200, "ok"},
		{"no such pod", "reader", "", "/containerLogs/ns/no/app", 404, ""},
		{"a bad number", "reader", "", "/containerLogs/ns/web/app?tailLines=-1", 422, "tailLines"},
		{"a session that cannot be", "admin", "system:masters", "/attach/ns/web/app?output=1", 500, "broken"},
		{"a command that is missing", "admin", "system:masters", "/exec/ns/web/app?output=1", 400, "command"},
	} {
		w := httptest.NewRecorder()
		var groups []string
		if tc.group != "" {
			groups = []string{tc.group}
		}
		as(h, tc.user, groups...).ServeHTTP(w, httptest.NewRequest(http.MethodGet, tc.path, nil))
		if w.Code != tc.code || !strings.Contains(w.Body.String(), tc.body) {
			t.Errorf("%s: %d %q, want %d %q", tc.name, w.Code, w.Body.String(), tc.code, tc.body)
		}
	}
}

// TestExecIsHandedToTheRuntime upgrades through the port to a server that echoes.
func TestExecIsHandedToTheRuntime(t *testing.T) {
	runtime := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", r.Header.Get("Upgrade"))
		_, _ = io.Copy(conn, rw)
	}))
	defer runtime.Close()
	target, _ := url.Parse(runtime.URL + "/exec/token")
	pods := &onePod{target: target}
	port := httptest.NewServer(as((&Server{Pods: pods}).Handler(), "admin", "system:masters"))
	defer port.Close()
	conn, err := net.Dial("tcp", port.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST /exec/ns/web/app?command=sh&command=-c&output=1&input=1&tty=1&error=1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n")
	r := bufio.NewReader(conn)
	res, err := http.ReadResponse(r, nil)
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%v, %v", res, err)
	}
	fmt.Fprint(conn, "hello")
	got := make([]byte, 5)
	if _, err := io.ReadFull(r, got); err != nil || string(got) != "hello" {
		t.Errorf("%q, %v", got, err)
	}
	want := ExecRequest{Container: "app", Command: []string{"sh", "-c"}, TTY: true, Stdin: true, Stdout: true}
	if diff := cmp.Diff(want, pods.asked); diff != "" {
		t.Error(diff)
	}
}

func TestLogOptions(t *testing.T) {
	now := time.Unix(1000, 0)
	for query, want := range map[string]logs.Options{
		"":                               {Tail: -1, Limit: -1},
		"follow=true&timestamps=true":    {Tail: -1, Limit: -1, Follow: true, Timestamps: true},
		"tailLines=5&limitBytes=7":       {Tail: 5, Limit: 7},
		"sinceSeconds=60":                {Tail: -1, Limit: -1, Since: now.Add(-time.Minute)},
		"sinceTime=1970-01-01T00:00:05Z": {Tail: -1, Limit: -1, Since: time.Unix(5, 0).UTC()},
		"stream=Stderr":                  {Tail: -1, Limit: -1, Stream: "stderr"},
		"position=0.log:1:2:true":        {Tail: -1, Limit: -1, At: &logs.Position{Log: "0.log", Inode: 1, Offset: 2, Part: true}},
	} {
		q, _ := url.ParseQuery(query)
		got, _, err := logOptions(q, now)
		if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) })); err != nil || diff != "" {
			t.Errorf("%s: %v %s", query, err, diff)
		}
	}
}

func TestResourceText(t *testing.T) {
	n := uint64(1500000000)
	sum := &statsv1alpha1.Summary{Pods: []statsv1alpha1.PodStats{{
		PodRef: statsv1alpha1.PodReference{Namespace: "ns", Name: "web"}, CPU: &statsv1alpha1.CPUStats{UsageCoreNanoSeconds: &n},
	}}}
	if got := resourceText(sum); !strings.Contains(got, `pod_cpu_usage_seconds_total{namespace="ns",pod="web"} 1.5 `) {
		t.Error(got)
	}
}
