package usage

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	statsv1alpha1 "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func after(d time.Duration) time.Time { return start.Add(d) }

func TestRates(t *testing.T) {
	const second = uint64(time.Second)
	one := func(c counter) map[string]map[string]counter {
		return map[string]map[string]counter{"pod": {"main": c}}
	}
	figure := func(window time.Duration, nanocores, memory int64) map[string]map[string]Figure {
		return map[string]map[string]Figure{"pod": {"main": {At: after(10 * time.Second), Window: window, Nanocores: nanocores, Memory: memory}}}
	}
	now := counter{at: after(10 * time.Second), cpu: 6 * second, memory: 100, start: after(-time.Hour)}
	young := counter{at: after(10 * time.Second), cpu: 2 * second, memory: 100, start: after(6 * time.Second)}
	for _, tc := range []struct {
		name          string
		before, after map[string]map[string]counter
		want          map[string]map[string]Figure
	}{
		{"half a core", one(counter{at: start, cpu: second}), one(now), figure(10*time.Second, 5e8, 100)},
		{"idle", one(counter{at: start, cpu: 6 * second}), one(now), figure(10*time.Second, 0, 100)},
		{"began meanwhile", nil, one(young), figure(4*time.Second, 5e8, 100)},
		{"restarted meanwhile", one(counter{at: start, cpu: 9 * second}), one(young), figure(4*time.Second, 5e8, 100)},
		{"restarted, and nobody knows when", one(counter{at: start, cpu: 9 * second}), one(now), nil},
		{"no start", nil, one(counter{at: now.at, cpu: 1}), nil},
		{"the same measurement twice", one(now), one(now), nil},
		{"just started", nil, one(counter{at: now.at, cpu: 1, start: after(10*time.Second - 100*time.Millisecond)}), nil},
		{"gone", one(counter{at: start}), nil, nil},
		{
			"one of two unknown", one(counter{at: start}),
			map[string]map[string]counter{"pod": {"main": now, "second": {at: now.at}}},
			nil,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := rates(&sample{pods: tc.before}, &sample{pods: tc.after})
			if tc.want == nil {
				tc.want = map[string]map[string]Figure{}
			}
			if diff := cmp.Diff(tc.want, got.Pods); diff != "" {
				t.Error(diff)
			}
		})
	}
	got := rates(&sample{node: &counter{at: start}}, &sample{node: &counter{at: after(2 * time.Second), cpu: second, memory: 7}})
	if diff := cmp.Diff(&Figure{At: after(2 * time.Second), Window: 2 * time.Second, Nanocores: 5e8, Memory: 7}, got.Node); diff != "" {
		t.Error(diff)
	}
}

// agents is a machine that works half of the time, on a clock that only sleeping and the test advance.
type agents struct {
	now   time.Time
	asked atomic.Int64
	down  map[string]bool
}

func (a *agents) RoundTrip(req *http.Request) (*http.Response, error) {
	a.asked.Add(1)
	if a.down[req.URL.Host] {
		return nil, errors.New("connection refused")
	}
	worked, memory := uint64(a.now.Sub(start)/2), uint64(5)
	stats := &statsv1alpha1.CPUStats{Time: metav1.NewTime(a.now), UsageCoreNanoSeconds: &worked}
	data, err := json.Marshal(statsv1alpha1.Summary{Node: statsv1alpha1.NodeStats{CPU: stats, Memory: &statsv1alpha1.MemoryStats{WorkingSetBytes: &memory}}})
	return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader(string(data)))}, err
}

func TestMeter(t *testing.T) {
	a := &agents{now: start, down: map[string]bool{"b": true}}
	m := &Meter{
		Agents:  a,
		Address: func(n *corev1.Node) (string, error) { return n.Name, nil },
		Now:     func() time.Time { return a.now },
		Sleep:   func(_ context.Context, d time.Duration) error { a.now = a.now.Add(d); return nil },
	}
	node := func(name string) *corev1.Node {
		return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name)}}
	}
	read := func(wantAsked int64, window time.Duration) {
		t.Helper()
		before := a.asked.Load()
		got := m.Read(t.Context(), []*corev1.Node{node("a")})
		want := map[string]*Figures{"a": {Node: &Figure{At: got["a"].Node.At, Window: window, Nanocores: 5e8, Memory: 5}, Pods: map[string]map[string]Figure{}}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		if n := a.asked.Load() - before; n != wantAsked {
			t.Errorf("asked %d times, want %d", n, wantAsked)
		}
	}
	read(2, time.Second) // the first time, two samples
	read(0, time.Second) // again at once
	a.now = a.now.Add(15 * time.Second)
	read(1, 15*time.Second) // since the last
	a.now = a.now.Add(2 * time.Minute)
	read(2, time.Second) // too long ago to say anything
	a.now = a.now.Add(time.Hour)
	read(2, time.Second) // forgotten
	if got := m.Read(t.Context(), []*corev1.Node{node("a"), node("b")}); got["a"] == nil || got["b"] != nil {
		t.Errorf("with an agent that does not answer: %v", got)
	}
}

// An agent that hangs costs others nothing, and who waits for it no more than the request's time.
func TestMeterGivesUp(t *testing.T) {
	m := &Meter{Agents: hanging{}, Address: func(n *corev1.Node) (string, error) { return n.Name, nil }}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if got := m.Read(ctx, []*corev1.Node{{}}); len(got) > 0 {
		t.Errorf("got %v", got)
	}
}

type hanging struct{}

func (hanging) RoundTrip(req *http.Request) (*http.Response, error) {
	<-req.Context().Done()
	return nil, req.Context().Err()
}
