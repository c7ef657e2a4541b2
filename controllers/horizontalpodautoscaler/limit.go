package horizontalpodautoscaler

import (
	"math"
	"slices"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
)

// history is what rules about time go by. It is kept in memory only: a controller that starts anew begins with the size that
// it finds.
type history struct {
	recommendations []moment
	ups, downs      []moment
}

// moment is a recommended size, or a number of replicas that were added or removed.
type moment struct {
	at time.Time
	n  int32
}

// keep is longer than any window or period can be.
const keep = 2 * time.Hour

func (h history) clone() history {
	return history{slices.Clone(h.recommendations), slices.Clone(h.ups), slices.Clone(h.downs)}
}

// begin takes the first size that is found for a recommendation.
func (h *history) begin(n int32, now time.Time) {
	if len(h.recommendations) == 0 {
		h.recommendations = []moment{{now, n}}
	}
	old := func(m moment) bool { return m.at.Before(now.Add(-keep)) }
	h.ups, h.downs = slices.DeleteFunc(h.ups, old), slices.DeleteFunc(h.downs, old)
	if latest := h.recommendations[len(h.recommendations)-1]; !old(latest) {
		h.recommendations = slices.DeleteFunc(h.recommendations, old)
	} else {
		h.recommendations = []moment{latest}
	}
}

func (h *history) recommend(n int32, now time.Time) {
	h.recommendations = append(h.recommendations, moment{now, n})
}

func (h *history) changed(by int32, now time.Time) {
	if by > 0 {
		h.ups = append(h.ups, moment{now, by})
	} else {
		h.downs = append(h.downs, moment{now, -by})
	}
}

// extreme folds what was recommended since a time into n.
func (h *history) extreme(n int32, since time.Time, fold func(a, b int32) int32) int32 {
	for _, r := range h.recommendations {
		if r.at.After(since) {
			n = fold(n, r.n)
		}
	}
	return n
}

func lower(a, b int32) int32  { return min(a, b) }
func higher(a, b int32) int32 { return max(a, b) }

const (
	matches   = "recommended size matches current size"
	downStays = "recent recommendations were higher than current one, applying the highest recent recommendation"
	upStays   = "recent recommendations were lower than current one, applying the lowest recent recommendation"
	tooFast   = "the desired replica count is increasing faster than the maximum scale rate"
	tooSlow   = "the desired replica count is decreasing faster than the maximum scale rate"
	tooMany   = "the desired replica count is more than the maximum replica count"
	tooFew    = "the desired replica count is less than the minimum replica count"
	within    = "the desired count is within the acceptable range"
)

// limit is for autoscalers without a behavior: down to the highest recommendation of some minutes, up to twice the size, but
// always to four.
func (p *plan) limit(s *state, wanted int32) int32 {
	stable := p.history.extreme(wanted, s.now.Add(-s.Stabilization), higher)
	p.history.recommend(wanted, s.now)
	if stable != wanted {
		p.condition(autoscalingv2.AbleToScale, corev1.ConditionTrue, "ScaleDownStabilized", downStays)
	} else {
		p.condition(autoscalingv2.AbleToScale, corev1.ConditionTrue, "ReadyForNewScale", matches)
	}
	most, reason, message := s.hpa.Spec.MaxReplicas, "TooManyReplicas", tooMany
	if up := max(2*s.scale.Spec.Replicas, 4); most > up {
		most, reason, message = up, "ScaleUpLimit", tooFast
	}
	switch {
	case stable < s.least():
		return p.limited(s.least(), "TooFewReplicas", tooFew)
	case stable > most:
		return p.limited(most, reason, message)
	}
	return p.unlimited(stable)
}

func (p *plan) limited(n int32, reason, message string) int32 {
	p.condition(autoscalingv2.ScalingLimited, corev1.ConditionTrue, reason, message)
	return n
}

func (p *plan) unlimited(n int32) int32 {
	p.condition(autoscalingv2.ScalingLimited, corev1.ConditionFalse, "DesiredWithinRange", within)
	return n
}

// limitByBehavior is for autoscalers that say how they are to behave.
func (p *plan) limitByBehavior(s *state, wanted int32) int32 {
	current, b := s.scale.Spec.Replicas, s.hpa.Spec.Behavior
	upWindow, downWindow := time.Duration(0), s.Stabilization
	if b.ScaleUp != nil && b.ScaleUp.StabilizationWindowSeconds != nil {
		upWindow = time.Duration(*b.ScaleUp.StabilizationWindowSeconds) * time.Second
	}
	if b.ScaleDown != nil && b.ScaleDown.StabilizationWindowSeconds != nil {
		downWindow = time.Duration(*b.ScaleDown.StabilizationWindowSeconds) * time.Second
	}
	up := p.history.extreme(wanted, s.now.Add(-upWindow), lower)
	down := p.history.extreme(wanted, s.now.Add(-downWindow), higher)
	stable := min(max(current, up), down)
	p.history.recommend(wanted, s.now)
	switch {
	case stable == wanted:
		p.condition(autoscalingv2.AbleToScale, corev1.ConditionTrue, "ReadyForNewScale", matches)
	case wanted >= current:
		p.condition(autoscalingv2.AbleToScale, corev1.ConditionTrue, "ScaleUpStabilized", upStays)
	default:
		p.condition(autoscalingv2.AbleToScale, corev1.ConditionTrue, "ScaleDownStabilized", downStays)
	}
	switch {
	case stable > current:
		most, reason, message := s.hpa.Spec.MaxReplicas, "TooManyReplicas", tooMany
		if limit := max(current, p.history.ceiling(current, b.ScaleUp, s.now)); most > limit {
			most, reason, message = limit, "ScaleUpLimit", tooFast
		}
		if stable > most {
			return p.limited(most, reason, message)
		}
	case stable < current:
		least, reason, message := s.least(), "TooFewReplicas", tooFew
		if limit := min(current, p.history.floor(current, b.ScaleDown, s.now)); least < limit {
			least, reason, message = limit, "ScaleDownLimit", tooSlow
		}
		if stable < least {
			return p.limited(least, reason, message)
		}
	}
	return p.unlimited(stable)
}

// since sums up what happened in a policy's period.
func since(list []moment, period int32, now time.Time) int32 {
	n := int32(0)
	for _, m := range list {
		if m.at.After(now.Add(-time.Duration(period) * time.Second)) {
			n += m.n
		}
	}
	return n
}

// ceiling is the size up to which rules allow to grow now. A policy counts from the size at the start of its period.
func (h *history) ceiling(current int32, rules *autoscalingv2.HPAScalingRules, now time.Time) int32 {
	if rules == nil {
		return math.MaxInt32
	}
	choose, out := higher, int32(math.MinInt32)
	switch selects(rules) {
	case autoscalingv2.DisabledPolicySelect:
		return current
	case autoscalingv2.MinChangePolicySelect:
		choose, out = lower, math.MaxInt32
	}
	for _, policy := range rules.Policies {
		start := current - since(h.ups, policy.PeriodSeconds, now) + since(h.downs, policy.PeriodSeconds, now)
		n := saturated(float64(start) + float64(policy.Value))
		if policy.Type == autoscalingv2.PercentScalingPolicy {
			n = saturated(math.Ceil(float64(start) * (1 + float64(policy.Value)/100)))
		}
		out = choose(out, n)
	}
	return out
}

// floor is the size down to which rules allow to shrink now. The policy of least change is the one with the highest floor.
func (h *history) floor(current int32, rules *autoscalingv2.HPAScalingRules, now time.Time) int32 {
	if rules == nil {
		return math.MinInt32
	}
	choose, out := lower, int32(math.MaxInt32)
	switch selects(rules) {
	case autoscalingv2.DisabledPolicySelect:
		return current
	case autoscalingv2.MinChangePolicySelect:
		choose, out = higher, math.MinInt32
	}
	for _, policy := range rules.Policies {
		start := current - since(h.ups, policy.PeriodSeconds, now) + since(h.downs, policy.PeriodSeconds, now)
		n := start - policy.Value
		if policy.Type == autoscalingv2.PercentScalingPolicy {
			n = int32(float64(start) * (1 - float64(policy.Value)/100))
		}
		out = choose(out, n)
	}
	return out
}

func selects(rules *autoscalingv2.HPAScalingRules) autoscalingv2.ScalingPolicySelect {
	if rules.SelectPolicy == nil {
		return autoscalingv2.MaxChangePolicySelect
	}
	return *rules.SelectPolicy
}

// saturated keeps a size within what there are numbers for.
func saturated(n float64) int32 {
	return int32(min(n, math.MaxInt32))
}
