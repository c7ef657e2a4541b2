package apiserver

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// BenchmarkFigures is what counting costs: one counter that is found by its labels, all figures of a request with the clock, those
// of an event of a watch, and those of a write to the store.
func BenchmarkFigures(b *testing.B) {
	f := newFigures()
	key := requestKey{verb: "GET", version: "v1", resource: "configmaps", scope: "resource", component: "apiserver"}
	b.Run("by labels", func(b *testing.B) {
		total := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "x"}, []string{"verb", "group", "version", "resource", "subresource"})
		b.ReportAllocs()
		for b.Loop() {
			total.WithLabelValues("get", "", "v1", "configmaps", "").Inc()
		}
	})
	b.Run("request", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			f.ended(key, &reply{code: 200, size: 1000}, time.Now())
		}
	})
	b.Run("event", func(b *testing.B) {
		w := f.watch("", "v1", "configmaps")
		b.ReportAllocs()
		for b.Loop() {
			w.events.Inc()
			w.sizes.Observe(1000)
		}
	})
	b.Run("write", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			f.stored("update", "", "configmaps", time.Now(), nil)
		}
	})
}
