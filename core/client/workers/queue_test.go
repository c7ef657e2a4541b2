package workers

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
)

// figuresOf are the values of counters and gauges and the counts of histograms, without what takes time.
func figuresOf(t *testing.T, f *queueFigures) map[string]float64 {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(f)
	all, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, family := range all {
		for _, m := range family.GetMetric() {
			name := strings.TrimPrefix(family.GetName(), "workqueue_")
			switch {
			case m.GetCounter() != nil:
				out[name] = m.GetCounter().GetValue()
			case m.GetHistogram() != nil:
				out[name] = float64(m.GetHistogram().GetSampleCount())
			case strings.HasSuffix(name, "_seconds"):
				if m.GetGauge().GetValue() > 0 {
					out[name] = 1
				}
			default:
				out[name] = m.GetGauge().GetValue()
			}
		}
	}
	return out
}

func TestQueueIsCounted(t *testing.T) {
	f := newQueueFigures()
	limiter := workqueue.NewTypedItemExponentialFailureRateLimiter[string](firstRetry, firstRetry)
	q := newCounted(f, "test", priorityqueue.New("", func(o *priorityqueue.Opts[string]) { o.RateLimiter = limiter }))
	defer q.ShutDown()
	q.Add("a")
	q.AddWithOpts(priorityqueue.AddOpts{}, "b")
	item, _ := q.Get()
	// What is worked on may be added again.
	q.Add(item)
	q.Add(item)
	want := map[string]float64{
		"adds_total": 3, "retries_total": 0, "queue_duration_seconds": 1, "work_duration_seconds": 0, "depth": 1,
		"unfinished_work_seconds": 1, "longest_running_processor_seconds": 1,
	}
	got := figuresOf(t, f)
	// Whether what is worked on counts as waiting when it was added again is the library's affair.
	want["depth"] = got["depth"]
	if diff := cmp.Diff(want, got); diff != "" || got["depth"] < 1 {
		t.Errorf("while one is worked on (-want +got):\n%s", diff)
	}
	q.Done(item)
	for range 2 {
		item, _, _ := q.GetWithPriority()
		q.Done(item)
	}
	q.AddRateLimited("c")
	item, _ = q.Get()
	q.Done(item)
	want = map[string]float64{"adds_total": 4, "retries_total": 1, "queue_duration_seconds": 3, "work_duration_seconds": 4, "depth": 0}
	if diff := cmp.Diff(want, figuresOf(t, f)); diff != "" {
		t.Errorf("afterwards (-want +got):\n%s", diff)
	}
}

func BenchmarkQueue(b *testing.B) {
	for name, q := range map[string]priorityqueue.PriorityQueue[string]{
		"plain": priorityqueue.New[string](""), "counted": newCounted(newQueueFigures(), "test", priorityqueue.New[string]("")),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				q.Add("a")
				item, _ := q.Get()
				q.Done(item)
			}
		})
		q.ShutDown()
	}
}
