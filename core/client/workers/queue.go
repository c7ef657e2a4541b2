package workers

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
)

// Metrics are the figures of all queues, by the names that Kubernetes' controllers have for them. What changes by itself, such as how
// long something has been worked on, is computed when somebody asks: the library's own figures cost every controller a timer of half
// a second, which together were most of what an idle server did.
var Metrics = newQueueFigures()

type queueFigures struct {
	adds, retries *prometheus.CounterVec
	waited, took  *prometheus.HistogramVec

	mu     sync.Mutex
	queues map[string]stater // by name; one that is made again replaces the former
}

// stater tells how a queue is now: how many wait, and how long those that are worked on have been, together and at most.
type stater interface {
	state(now time.Time) (depth int, together, longest time.Duration)
}

var (
	depthDesc    = prometheus.NewDesc("workqueue_depth", "Items that wait.", []string{"name"}, nil)
	togetherDesc = prometheus.NewDesc("workqueue_unfinished_work_seconds", "How long all that is worked on has been, together.", []string{"name"}, nil)
	longestDesc  = prometheus.NewDesc("workqueue_longest_running_processor_seconds", "How long the oldest that is worked on has been.", []string{"name"}, nil)
)

var _ prometheus.Collector = (*queueFigures)(nil)

func newQueueFigures() *queueFigures {
	counter := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{"name"})
	}
	histogram := func(name, help string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: prometheus.ExponentialBuckets(10e-9, 10, 12)}, []string{"name"})
	}
	return &queueFigures{
		adds:    counter("workqueue_adds_total", "Items that were added."),
		retries: counter("workqueue_retries_total", "Items that were added again after a failure."),
		waited:  histogram("workqueue_queue_duration_seconds", "How long items waited; those that were to wait are not counted."),
		took:    histogram("workqueue_work_duration_seconds", "How long items were worked on."),
		queues:  map[string]stater{},
	}
}

// Describe implements prometheus.Collector.
func (f *queueFigures) Describe(out chan<- *prometheus.Desc) {
	f.adds.Describe(out)
	f.retries.Describe(out)
	f.waited.Describe(out)
	f.took.Describe(out)
	out <- depthDesc
	out <- togetherDesc
	out <- longestDesc
}

// Collect implements prometheus.Collector.
func (f *queueFigures) Collect(out chan<- prometheus.Metric) {
	f.adds.Collect(out)
	f.retries.Collect(out)
	f.waited.Collect(out)
	f.took.Collect(out)
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	for name, q := range f.queues {
		depth, together, longest := q.state(now)
		out <- prometheus.MustNewConstMetric(depthDesc, prometheus.GaugeValue, float64(depth), name)
		out <- prometheus.MustNewConstMetric(togetherDesc, prometheus.GaugeValue, together.Seconds(), name)
		out <- prometheus.MustNewConstMetric(longestDesc, prometheus.GaugeValue, longest.Seconds(), name)
	}
}

// counted is a queue with figures.
type counted[T comparable] struct {
	priorityqueue.PriorityQueue[T]
	adds, retries prometheus.Counter
	waited, took  prometheus.Observer

	mu           sync.Mutex
	added, begun map[T]time.Time
}

var _ priorityqueue.PriorityQueue[string] = (*counted[string])(nil)

func newCounted[T comparable](f *queueFigures, name string, q priorityqueue.PriorityQueue[T]) *counted[T] {
	c := &counted[T]{
		PriorityQueue: q,
		adds:          f.adds.WithLabelValues(name), retries: f.retries.WithLabelValues(name),
		waited: f.waited.WithLabelValues(name), took: f.took.WithLabelValues(name),
		added: map[T]time.Time{}, begun: map[T]time.Time{},
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.queues[name] = c
	return c
}

// note remembers since when an item waits.
func (c *counted[T]) note(item T) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, waits := c.added[item]; !waits {
		c.added[item] = time.Now()
		c.adds.Inc()
	}
}

// Add implements workqueue.TypedInterface.
func (c *counted[T]) Add(item T) {
	c.note(item)
	c.PriorityQueue.Add(item)
}

// AddRateLimited implements workqueue.TypedRateLimitingInterface.
func (c *counted[T]) AddRateLimited(item T) {
	c.retries.Inc()
	c.PriorityQueue.AddRateLimited(item)
}

// AddWithOpts implements priorityqueue.PriorityQueue.
func (c *counted[T]) AddWithOpts(o priorityqueue.AddOpts, items ...T) {
	for _, item := range items {
		if o.RateLimited {
			c.retries.Inc()
		} else if o.After <= 0 {
			c.note(item)
		}
	}
	c.PriorityQueue.AddWithOpts(o, items...)
}

// Get implements workqueue.TypedInterface.
func (c *counted[T]) Get() (item T, shutdown bool) {
	item, shutdown = c.PriorityQueue.Get()
	c.begin(item, shutdown)
	return item, shutdown
}

// GetWithPriority implements priorityqueue.PriorityQueue.
func (c *counted[T]) GetWithPriority() (item T, priority int, shutdown bool) {
	item, priority, shutdown = c.PriorityQueue.GetWithPriority()
	c.begin(item, shutdown)
	return item, priority, shutdown
}

func (c *counted[T]) begin(item T, shutdown bool) {
	if shutdown {
		return
	}
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if since, ok := c.added[item]; ok {
		c.waited.Observe(now.Sub(since).Seconds())
		delete(c.added, item)
	} else {
		c.adds.Inc() // its time has come by itself
	}
	c.begun[item] = now
}

// Done implements workqueue.TypedInterface.
func (c *counted[T]) Done(item T) {
	c.mu.Lock()
	if since, ok := c.begun[item]; ok {
		c.took.Observe(time.Since(since).Seconds())
		delete(c.begun, item)
	}
	c.mu.Unlock()
	c.PriorityQueue.Done(item)
}

func (c *counted[T]) state(now time.Time) (depth int, together, longest time.Duration) {
	c.mu.Lock()
	for _, since := range c.begun {
		d := now.Sub(since)
		together, longest = together+d, max(longest, d)
	}
	c.mu.Unlock()
	return c.Len(), together, longest
}

var _ workqueue.TypedRateLimitingInterface[string] = (*counted[string])(nil)
