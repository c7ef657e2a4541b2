package fairness

import (
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// pair is a level and a schema: what figures are told by.
type pair struct{ level, schema string }

// counts are the figures of a pair. The limiter's lock is for them, so that counting costs next to nothing.
type counts struct {
	dispatched, executing, seats    int
	waiting, waitingSeats           int
	rejected                        map[Reason]int
	waited, gaveUp, took, watchTook histogram
	wanted, queued                  sizes
}

func (c *counts) wait(w *waiter, sign int) {
	c.waiting += sign
	c.waitingSeats += sign * w.seats
}

// histogram counts durations, in the buckets that Kubernetes has for these.
type histogram struct {
	buckets [len(bounds)]uint64 // not cumulative
	count   uint64
	sum     time.Duration
}

var bounds = [...]time.Duration{
	0, 5 * time.Millisecond, 20 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 15 * time.Second, 30 * time.Second,
}

func (h *histogram) add(d time.Duration) {
	h.count++
	h.sum += d
	for i := range bounds {
		if d <= bounds[i] {
			h.buckets[i]++
			return
		}
	}
}

// sizes counts numbers, in eight buckets.
type sizes struct {
	buckets    [8]uint64 // not cumulative
	count, sum uint64
}

// The buckets are Kubernetes'.
var (
	seatBounds  = [8]int{1, 2, 4, 8, 16, 32, 64, 100}
	queueBounds = [8]int{0, 10, 25, 50, 100, 250, 500, 1000}
)

func (s *sizes) add(n int, bounds *[8]int) {
	s.count++
	s.sum += uint64(n)
	for i := range bounds {
		if n <= bounds[i] {
			s.buckets[i]++
			return
		}
	}
}

func (s *sizes) metric(d *prometheus.Desc, bounds *[8]int, labels ...string) prometheus.Metric {
	cumulative, sum := make(map[float64]uint64, len(bounds)), uint64(0)
	for i, b := range bounds {
		sum += s.buckets[i]
		cumulative[float64(b)] = sum
	}
	return prometheus.MustNewConstHistogram(d, s.count, float64(s.sum), cumulative, labels...)
}

func (l *Limiter) countsOf(p pair) *counts {
	if l.counts == nil {
		l.counts = map[pair]*counts{}
	}
	c := l.counts[p]
	if c == nil {
		c = &counts{rejected: map[Reason]int{}}
		l.counts[p] = c
	}
	return c
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("apiserver_flowcontrol_"+name, help, labels, nil)
}

var (
	byPair = []string{"priority_level", "flow_schema"}

	dispatchedDesc   = desc("dispatched_requests_total", "Requests that were executed.", byPair...)
	rejectedDesc     = desc("rejected_requests_total", "Requests that were refused.", append(byPair[:2:2], "reason")...)
	inqueueDesc      = desc("current_inqueue_requests", "Requests that wait.", byPair...)
	inqueueSeatsDesc = desc("current_inqueue_seats", "Seats for which requests wait.", byPair...)
	executingDesc    = desc("current_executing_requests", "Requests that are executed; watches only until they have begun.", byPair...)
	seatsDesc        = desc("current_executing_seats", "Seats in use.", byPair...)
	waitDesc         = desc("request_wait_duration_seconds", "How long requests have waited.", append(byPair[:2:2], "execute")...)
	executionDesc    = desc("request_execution_seconds", "How long requests were executed; watches until they had begun.", append(byPair[:2:2], "type")...)
	wantedDesc       = desc("work_estimated_seats", "Seats that requests were to take.", byPair...)
	queuedDesc       = desc("request_queue_length_after_enqueue", "Requests in the queue of one that has to wait, itself included.", byPair...)

	nominalDesc = desc("nominal_limit_seats", "Seats of the level's own.", "priority_level")
	lowerDesc   = desc("lower_limit_seats", "Seats that the level never lends.", "priority_level")
	upperDesc   = desc("upper_limit_seats", "Seats that the level may use, with those that it borrows.", "priority_level")
	currentDesc = desc("current_limit_seats", "Seats that the level could use now.", "priority_level")

	inflightDesc = prometheus.NewDesc("apiserver_current_inflight_requests", "Requests that are executed; watches only until they have begun.", []string{"request_kind"}, nil)
)

var _ prometheus.Collector = (*Limiter)(nil)

// Describe implements prometheus.Collector.
func (l *Limiter) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		dispatchedDesc, rejectedDesc, inqueueDesc, inqueueSeatsDesc, executingDesc, seatsDesc, waitDesc, executionDesc, wantedDesc, queuedDesc,
		nominalDesc, lowerDesc, upperDesc, currentDesc, inflightDesc,
	} {
		out <- d
	}
}

// Collect implements prometheus.Collector. The names are those of kube-apiserver.
func (l *Limiter) Collect(out chan<- prometheus.Metric) {
	for _, m := range l.figures() {
		out <- m
	}
}

// figures are made under the lock and sent without it.
func (l *Limiter) figures() []prometheus.Metric {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []prometheus.Metric
	add := func(d *prometheus.Desc, kind prometheus.ValueType, v int, labels ...string) {
		out = append(out, prometheus.MustNewConstMetric(d, kind, float64(v), labels...))
	}
	for p, c := range l.counts {
		add(dispatchedDesc, prometheus.CounterValue, c.dispatched, p.level, p.schema)
		for reason, n := range c.rejected {
			add(rejectedDesc, prometheus.CounterValue, n, p.level, p.schema, string(reason))
		}
		add(inqueueDesc, prometheus.GaugeValue, c.waiting, p.level, p.schema)
		add(inqueueSeatsDesc, prometheus.GaugeValue, c.waitingSeats, p.level, p.schema)
		add(executingDesc, prometheus.GaugeValue, c.executing, p.level, p.schema)
		add(seatsDesc, prometheus.GaugeValue, c.seats, p.level, p.schema)
		for _, h := range []struct {
			desc *prometheus.Desc
			of   *histogram
			what string
		}{{waitDesc, &c.waited, "true"}, {waitDesc, &c.gaveUp, "false"}, {executionDesc, &c.took, "regular"}, {executionDesc, &c.watchTook, "watch"}} {
			if h.of.count > 0 {
				out = append(out, h.of.metric(h.desc, p.level, p.schema, h.what))
			}
		}
		if c.wanted.count > 0 {
			out = append(out, c.wanted.metric(wantedDesc, &seatBounds, p.level, p.schema))
		}
		if c.queued.count > 0 {
			out = append(out, c.queued.metric(queuedDesc, &queueBounds, p.level, p.schema))
		}
	}
	for _, lv := range l.levels {
		add(nominalDesc, prometheus.GaugeValue, lv.nominal, lv.name)
		add(lowerDesc, prometheus.GaugeValue, lv.min, lv.name)
		add(upperDesc, prometheus.GaugeValue, lv.max, lv.name)
		add(currentDesc, prometheus.GaugeValue, min(lv.max, max(lv.inUse, lv.min)+max(0, l.lendable-l.lent)), lv.name)
	}
	add(inflightDesc, prometheus.GaugeValue, l.inflight[0], "readOnly")
	add(inflightDesc, prometheus.GaugeValue, l.inflight[1], "mutating")
	return out
}

func (h *histogram) metric(d *prometheus.Desc, labels ...string) prometheus.Metric {
	cumulative, sum := make(map[float64]uint64, len(bounds)), uint64(0)
	for i, b := range bounds {
		sum += h.buckets[i]
		cumulative[b.Seconds()] = sum
	}
	return prometheus.MustNewConstHistogram(d, h.count, h.sum.Seconds(), cumulative, labels...)
}

// sorted returns the levels by name.
func (l *Limiter) sorted() []*level {
	return slices.SortedFunc(slices.Values(l.levels), func(a, b *level) int { return strings.Compare(a.name, b.name) })
}
