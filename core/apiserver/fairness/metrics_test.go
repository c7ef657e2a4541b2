package fairness

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"
)

func TestSizesAreCountedInBuckets(t *testing.T) {
	var s sizes
	for _, n := range []int{0, 1, 10, 11, 1000, 1001} {
		s.add(n, &queueBounds)
	}
	got := &dto.Metric{}
	if err := s.metric(queuedDesc, &queueBounds, "level", "schema").Write(got); err != nil {
		t.Fatal(err)
	}
	h := got.GetHistogram()
	cumulative := map[float64]uint64{}
	for _, b := range h.GetBucket() {
		cumulative[b.GetUpperBound()] = b.GetCumulativeCount()
	}
	want := map[float64]uint64{0: 1, 10: 3, 25: 4, 50: 4, 100: 4, 250: 4, 500: 4, 1000: 5}
	if diff := cmp.Diff(want, cumulative); diff != "" || h.GetSampleCount() != 6 || h.GetSampleSum() != 2023 {
		t.Errorf("%d with the sum %v\n%s", h.GetSampleCount(), h.GetSampleSum(), diff)
	}
}
