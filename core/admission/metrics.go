package admission

import (
	"maps"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are how long admission takes, in all of it and in each plugin, by the names and labels that kube-apiserver has for that.
var Metrics = newFigures()

// figures keep the histograms that were asked for before by what they count, for finding them by their labels costs more than
// most plugins.
type figures struct {
	step, controller *prometheus.HistogramVec
	known            atomic.Pointer[map[figure]prometheus.Observer]
}

// figure is what a duration is counted as; without a plugin it is that of the whole step.
type figure struct {
	plugin, step string
	operation    Operation
	rejected     bool
}

const (
	stepAdmit    = "admit"
	stepValidate = "validate"
)

var _ prometheus.Collector = (*figures)(nil)

func newFigures() *figures {
	vec := func(name, help string, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "apiserver", Subsystem: "admission", Name: name, Help: help, Buckets: []float64{0.005, 0.025, 0.1, 0.5, 1.0, 2.5},
		}, labels)
	}
	f := &figures{
		step:       vec("step_admission_duration_seconds", "How long a step of admission took.", "type", "operation", "rejected"),
		controller: vec("controller_admission_duration_seconds", "How long a plugin of admission took; of those that neither ask nor write, refusals only.", "name", "type", "operation", "rejected"),
	}
	f.known.Store(&map[figure]prometheus.Observer{})
	return f
}

// Describe implements prometheus.Collector.
func (f *figures) Describe(out chan<- *prometheus.Desc) {
	f.step.Describe(out)
	f.controller.Describe(out)
}

// Collect implements prometheus.Collector.
func (f *figures) Collect(out chan<- prometheus.Metric) {
	f.step.Collect(out)
	f.controller.Collect(out)
}

// begin is when a plugin begins that can take a while: one that asks others, or that writes. All others take less than it would cost
// to look at the clock, and so only their refusals are counted.
func (f *figures) begin(p Plugin) time.Time {
	switch p.(type) {
	case External, Finisher:
		return time.Now()
	}
	return time.Time{}
}

func (f *figures) end(as figure, begin time.Time) {
	if begin.IsZero() {
		if !as.rejected {
			return
		}
		begin = time.Now()
	}
	f.observe(as, begin)
}

// observe counts the time since begin.
func (f *figures) observe(as figure, begin time.Time) {
	known := f.known.Load()
	o, ok := (*known)[as]
	if !ok {
		o = f.find(as)
		next := maps.Clone(*known)
		next[as] = o
		f.known.CompareAndSwap(known, &next) // whoever has lost does it the next time
	}
	o.Observe(time.Since(begin).Seconds())
}

func (f *figures) find(as figure) prometheus.Observer {
	operation, rejected := string(as.operation), strconv.FormatBool(as.rejected)
	if as.plugin == "" {
		return f.step.WithLabelValues(as.step, operation, rejected)
	}
	return f.controller.WithLabelValues(as.plugin, as.step, operation, rejected)
}
