package fairness

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	flowcontrolv1 "k8s.io/api/flowcontrol/v1"

	"github.com/gantryio/gantry/core/api/flowcontrol"
)

// TestShares holds what kube-apiserver makes of its own levels with its own 600 seats.
func TestShares(t *testing.T) {
	levels := append(append([]*flowcontrolv1.PriorityLevelConfiguration{}, flowcontrol.MandatoryLevels...), flowcontrol.SuggestedLevels...)
	type row struct{ Nominal, Min, Max, Widest int }
	got := map[string]row{}
	for i, l := range share(600, levels) {
		got[levels[i].Name] = row{l.nominal, l.min, l.max, l.widest}
	}
	want := map[string]row{
		"catch-all": {13, 13, 613, 2}, "exempt": {0, 0, 600, 1}, "global-default": {49, 24, 649, 8}, "leader-election": {25, 25, 625, 4},
		"node-high": {98, 73, 698, 10}, "system": {74, 50, 674, 10}, "workload-high": {98, 49, 698, 10}, "workload-low": {245, 24, 845, 10},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("seats (-want +got):\n%s", diff)
	}
}

func TestSeatsFor(t *testing.T) {
	l := limits{widest: 4}
	for objects, want := range map[int]int{0: 1, 1: 1, 100: 1, 101: 2, 399: 4, 1_000_000: 4} {
		if got := l.seatsFor(objects); got != want {
			t.Errorf("%d objects: %d seats, want %d", objects, got, want)
		}
	}
}
