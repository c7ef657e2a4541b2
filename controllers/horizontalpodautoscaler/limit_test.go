package horizontalpodautoscaler

import (
	"fmt"
	"testing"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"

	"github.com/google/go-cmp/cmp"
)

func ago(d time.Duration, n int32) moment { return moment{start.Add(-d), n} }

func rules(selects autoscalingv2.ScalingPolicySelect, window int32, policies ...autoscalingv2.HPAScalingPolicy) *autoscalingv2.HPAScalingRules {
	return &autoscalingv2.HPAScalingRules{SelectPolicy: &selects, StabilizationWindowSeconds: &window, Policies: policies}
}

func TestBehavior(t *testing.T) {
	const (
		most, least, off = autoscalingv2.MaxChangePolicySelect, autoscalingv2.MinChangePolicySelect, autoscalingv2.DisabledPolicySelect
		ready, within    = "True ReadyForNewScale", "False DesiredWithinRange"
	)
	pods := func(n, seconds int32) autoscalingv2.HPAScalingPolicy {
		return autoscalingv2.HPAScalingPolicy{Type: autoscalingv2.PodsScalingPolicy, Value: n, PeriodSeconds: seconds}
	}
	percent := func(n, seconds int32) autoscalingv2.HPAScalingPolicy {
		return autoscalingv2.HPAScalingPolicy{Type: autoscalingv2.PercentScalingPolicy, Value: n, PeriodSeconds: seconds}
	}
	for _, tc := range []struct {
		name            string
		current, wanted int32
		up, down        *autoscalingv2.HPAScalingRules
		history         history
		want            int32
		able, limited   string
	}{
		{"up by pods", 10, 30, rules(most, 0, pods(5, 60)), nil, history{}, 15, ready, "True ScaleUpLimit"},
		{"up by percent", 10, 30, rules(most, 0, percent(50, 60)), nil, history{}, 15, ready, "True ScaleUpLimit"},
		{"up by percent, rounded up", 3, 30, rules(most, 0, percent(50, 60)), nil, history{}, 5, ready, "True ScaleUpLimit"},
		{"up by the larger", 10, 30, rules(most, 0, pods(4, 60), percent(100, 60)), nil, history{}, 20, ready, "True ScaleUpLimit"},
		{"up by the smaller", 10, 30, rules(least, 0, pods(4, 60), percent(100, 60)), nil, history{}, 14, ready, "True ScaleUpLimit"},
		{"up, switched off", 10, 30, rules(off, 0, pods(4, 60)), nil, history{}, 10, ready, "True ScaleUpLimit"},
		{"up within the rules", 10, 12, rules(most, 0, pods(4, 60)), nil, history{}, 12, ready, within},
		{"up to the maximum", 90, 120, rules(most, 0, pods(50, 60)), nil, history{}, 100, ready, "True TooManyReplicas"},
		{"up after what was added in the period", 12, 30, rules(most, 0, pods(5, 60)), nil, history{ups: []moment{ago(30*time.Second, 2), ago(2*time.Minute, 9)}}, 15, ready, "True ScaleUpLimit"},
		{"up after enough was added", 20, 30, rules(most, 0, pods(5, 60)), nil, history{ups: []moment{ago(30*time.Second, 10)}}, 20, ready, "True ScaleUpLimit"},
		{"up after some were removed", 8, 30, rules(most, 0, pods(5, 60)), nil, history{downs: []moment{ago(30*time.Second, 2)}}, 15, ready, "True ScaleUpLimit"},

		{"down by pods", 10, 1, nil, rules(most, 0, pods(3, 60)), history{}, 7, ready, "True ScaleDownLimit"},
		{"down by percent", 10, 1, nil, rules(most, 0, percent(35, 60)), history{}, 6, ready, "True ScaleDownLimit"},
		{"down by the larger", 10, 1, nil, rules(most, 0, pods(3, 60), percent(50, 60)), history{}, 5, ready, "True ScaleDownLimit"},
		{"down by the smaller", 10, 1, nil, rules(least, 0, pods(3, 60), percent(50, 60)), history{}, 7, ready, "True ScaleDownLimit"},
		{"down, switched off", 10, 1, nil, rules(off, 0, pods(3, 60)), history{}, 10, ready, "True ScaleDownLimit"},
		{"down within the rules", 10, 8, nil, rules(most, 0, pods(3, 60)), history{}, 8, ready, within},
		{"down to the minimum", 5, 1, nil, rules(most, 0, percent(100, 60)), history{}, 3, ready, "True TooFewReplicas"},
		{"down after what was removed in the period", 9, 1, nil, rules(most, 0, pods(3, 60)), history{downs: []moment{ago(30*time.Second, 1), ago(time.Hour, 5)}}, 7, ready, "True ScaleDownLimit"},
		{"down after enough was removed", 5, 3, nil, rules(most, 0, pods(3, 60)), history{downs: []moment{ago(30*time.Second, 4)}}, 5, ready, "True ScaleDownLimit"},

		{"stabilized up", 10, 30, rules(most, 120, pods(50, 60)), nil, history{recommendations: []moment{ago(3*time.Minute, 5), ago(time.Minute, 12)}}, 12, "True ScaleUpStabilized", within},
		{"stabilized up, to where it is", 10, 30, rules(most, 120, pods(50, 60)), nil, history{recommendations: []moment{ago(time.Minute, 4)}}, 10, "True ScaleUpStabilized", within},
		{"stabilized down", 10, 3, nil, rules(most, 120, pods(50, 60)), history{recommendations: []moment{ago(3*time.Minute, 20), ago(time.Minute, 8)}}, 8, "True ScaleDownStabilized", within},
		{"stabilized down by default", 10, 3, nil, &autoscalingv2.HPAScalingRules{Policies: []autoscalingv2.HPAScalingPolicy{percent(100, 15)}}, history{recommendations: []moment{ago(4*time.Minute, 9)}}, 9, "True ScaleDownStabilized", within},
		{"stable both ways", 10, 10, rules(most, 60, pods(1, 60)), rules(most, 60, pods(1, 60)), history{recommendations: []moment{ago(time.Minute/2, 3), ago(time.Minute/2, 30)}}, 10, ready, within},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := testState(tc.current)
			s.hpa.Spec.MinReplicas = new(int32(3))
			s.hpa.Spec.Behavior = &autoscalingv2.HorizontalPodAutoscalerBehavior{ScaleUp: tc.up, ScaleDown: tc.down}
			p := plan{now: start, history: tc.history}
			got := p.limitByBehavior(s, tc.wanted)
			c := conditions(p.status.Conditions)
			if got != tc.want || c["AbleToScale"] != tc.able || c["ScalingLimited"] != tc.limited {
				t.Errorf("%d %v, want %d %s, %s", got, c, tc.want, tc.able, tc.limited)
			}
			if last := p.history.recommendations[len(p.history.recommendations)-1]; last != (moment{start, tc.wanted}) {
				t.Errorf("remembered %v", last)
			}
		})
	}
}

// A workload that is asked for ever more grows as the rules let it, over time.
func TestGrowthOverTime(t *testing.T) {
	s := testState(1)
	s.hpa.Spec.Behavior = &autoscalingv2.HorizontalPodAutoscalerBehavior{
		ScaleUp: rules(autoscalingv2.MaxChangePolicySelect, 0, autoscalingv2.HPAScalingPolicy{Type: autoscalingv2.PodsScalingPolicy, Value: 4, PeriodSeconds: 60}),
	}
	var sizes []int32
	for range 9 {
		p := plan{now: s.now, history: s.history.clone()}
		p.history.begin(s.scale.Spec.Replicas, s.now)
		n := p.limitByBehavior(s, 50)
		p.status.CurrentReplicas, p.status.DesiredReplicas = s.scale.Spec.Replicas, n
		if n != s.scale.Spec.Replicas {
			p.scaled(s.hpa, nil)
		}
		sizes = append(sizes, n)
		s.history, s.now, s.scale.Spec.Replicas = p.history, s.now.Add(15*time.Second), n
	}
	if diff := cmp.Diff("[5 5 5 5 9 9 9 9 13]", fmt.Sprint(sizes)); diff != "" {
		t.Error(diff)
	}
}

func TestHistoryIsForgotten(t *testing.T) {
	h := history{
		recommendations: []moment{ago(5*time.Hour, 1), ago(time.Hour, 2)},
		ups:             []moment{ago(3*time.Hour, 1), ago(time.Minute, 2)}, downs: []moment{ago(3*time.Hour, 1)},
	}
	h.begin(7, start)
	if len(h.recommendations) != 1 || h.recommendations[0].n != 2 || len(h.ups) != 1 || len(h.downs) != 0 {
		t.Errorf("kept %v", h)
	}
	h = history{}
	if h.begin(7, start); len(h.recommendations) != 1 || h.recommendations[0] != (moment{start, 7}) {
		t.Errorf("began with %v", h)
	}
}
