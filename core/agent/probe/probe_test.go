package probe

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	testclock "k8s.io/utils/clock/testing"
)

// TestVerdictsNeedTheirThresholds plays results, one a period, and compares the verdicts that come of them.
func TestVerdictsNeedTheirThresholds(t *testing.T) {
	for _, tc := range []struct {
		name    string
		kind    Kind
		spec    corev1.Probe
		results []Outcome
		want    []string
	}{
		{
			"three failures in a row", Liveness,
			corev1.Probe{FailureThreshold: 3},
			[]Outcome{Failure, Failure, Success, Failure, Failure, Failure},
			[]string{"", "", "good", "", "", "bad"},
		},
		{
			"two successes in a row", Readiness,
			corev1.Probe{SuccessThreshold: 2, FailureThreshold: 1},
			[]Outcome{Success, Failure, Success, Success},
			[]string{"", "bad", "", "good"},
		},
		{"what could not be tried counts for nothing", Liveness, corev1.Probe{FailureThreshold: 2}, []Outcome{Failure, Unknown, Failure}, []string{"", "", "bad"}},
		{"a redirect elsewhere is a success", Liveness, corev1.Probe{}, []Outcome{Warning}, []string{"good"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, play(t, tc.kind, tc.spec, tc.results)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func play(t *testing.T, kind Kind, spec corev1.Probe, results []Outcome) []string {
	spec.PeriodSeconds = 10
	clock := testclock.NewFakeClock(time.Unix(1000, 0))
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	next, done := make(chan Outcome), make(chan struct{})
	verdict := ""
	got := make(chan struct{}, 1)
	w := &Worker{
		Kind: kind, Spec: &spec, Clock: clock, StartedAt: clock.Now(),
		Try: func(ctx context.Context) (Outcome, string) {
			got <- struct{}{}
			select {
			case r := <-next:
				return r, ""
			case <-ctx.Done():
				return Unknown, ""
			}
		},
		Tell: func(ok bool) { verdict = map[bool]string{true: "good", false: "bad"}[ok] },
		Told: func(Outcome, string) {},
	}
	go func() { w.Run(ctx); close(done) }()
	var out []string
	step(t, clock, got)
	for _, r := range results {
		verdict = ""
		next <- r
		step(t, clock, got)
		out = append(out, verdict)
	}
	cancel()
	<-done
	return out
}

// step moves the clock by periods until the next try has begun, before which the verdict on the last one was told.
func step(t *testing.T, clock *testclock.FakeClock, got chan struct{}) {
	t.Helper()
	for range 2000 {
		clock.Step(10 * time.Second)
		select {
		case <-got:
			return
		case <-time.After(time.Millisecond):
		}
	}
	t.Fatal("the next try did not come")
}

func TestHTTP(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/ok":
			if r.Host != "pod.example" || r.Header.Get("X-A") != "1" {
				w.WriteHeader(http.StatusTeapot)
			}
		case "/away":
			http.Redirect(w, r, "http://192.0.2.1/", http.StatusFound)
		default:
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer srv.Close()
	u, _ := url.Parse(srv.URL)
	port, _ := strconv.Atoi(u.Port())
	c := &corev1.Container{Name: "app", Ports: []corev1.ContainerPort{{Name: "web", ContainerPort: int32(port)}}}
	headers := []corev1.HTTPHeader{{Name: "Host", Value: "pod.example"}, {Name: "X-A", Value: "1"}}
	for _, tc := range []struct {
		path string
		port intstr.IntOrString
		want Outcome
	}{
		{"/ok", intstr.FromString("web"), Success},
		{"/away", intstr.FromInt32(int32(port)), Warning},
		{"/broken", intstr.FromInt32(int32(port)), Failure},
		{"/ok", intstr.FromString("no-such"), Unknown},
	} {
		get := &corev1.HTTPGetAction{Path: tc.path, Port: tc.port, HTTPHeaders: headers}
		if out, msg := HTTP(context.Background(), get, c, "127.0.0.1", time.Second); out != tc.want {
			t.Errorf("%s: %v (%s), want %v", tc.path, out, msg, tc.want)
		}
	}
}

func TestExecResult(t *testing.T) {
	for _, tc := range []struct {
		exit int32
		err  error
		want Outcome
	}{{0, nil, Success}, {1, nil, Failure}, {0, context.DeadlineExceeded, Failure}, {0, errors.New("no such container"), Unknown}} {
		if out, _ := ExecResult(nil, tc.exit, tc.err); out != tc.want {
			t.Errorf("exit %d, %v: %v, want %v", tc.exit, tc.err, out, tc.want)
		}
	}
}
