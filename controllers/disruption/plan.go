package disruption

import (
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/component-helpers/apps/poddisruptionbudget"
)

// deletionTime is how long an eviction that was allowed may take to show; then the pod counts again.
const deletionTime = 2 * time.Minute

// state is what is known of one budget.
type state struct {
	budget *policyv1.PodDisruptionBudget
	pods   []*corev1.Pod
	// scale is the sum of the sizes of the pods' controllers; it matters when relative says so.
	scale int32
	now   time.Time
}

// plan is what to report about one budget.
type plan struct {
	status policyv1.PodDisruptionBudgetStatus
	// notDeleted are pods whose eviction was allowed and did not happen.
	notDeleted []*corev1.Pod
	// wakeAfter is when the next such allowance ends, 0 for never.
	wakeAfter time.Duration
}

// relative tells budgets that are measured by how many pods there should be.
func relative(s *policyv1.PodDisruptionBudgetSpec) bool {
	return s.MaxUnavailable != nil || s.MinAvailable != nil && s.MinAvailable.Type == intstr.String
}

// decide counts.
func decide(s state) (plan, error) {
	var p plan
	expected, desired, err := measure(s)
	if err != nil {
		return p, err
	}
	disrupted := p.disrupted(s)
	healthy := int32(0)
	for _, pod := range s.pods {
		_, leaving := disrupted[pod.Name]
		if pod.DeletionTimestamp == nil && !leaving && ready(pod) {
			healthy++
		}
	}
	allowed := max(0, healthy-desired)
	if expected <= 0 {
		allowed = 0 // the first pods may come before they are counted
	}
	out := s.budget.DeepCopy()
	out.Status = policyv1.PodDisruptionBudgetStatus{
		CurrentHealthy: healthy, DesiredHealthy: desired, ExpectedPods: expected, DisruptionsAllowed: allowed,
		DisruptedPods: disrupted, ObservedGeneration: s.budget.Generation, Conditions: out.Status.Conditions,
	}
	poddisruptionbudget.UpdateDisruptionAllowedCondition(out)
	p.status = out.Status
	return p, nil
}

// measure is how many pods there should be, and how many of them healthy.
func measure(s state) (expected, desired int32, err error) {
	spec := &s.budget.Spec
	switch {
	case spec.MaxUnavailable != nil:
		n, err := intstr.GetScaledValueFromIntOrPercent(spec.MaxUnavailable, int(s.scale), true)
		return s.scale, max(0, s.scale-int32(n)), err
	case spec.MinAvailable == nil:
		return 0, 0, nil
	case spec.MinAvailable.Type == intstr.Int:
		return int32(len(s.pods)), spec.MinAvailable.IntVal, nil
	}
	n, err := intstr.GetScaledValueFromIntOrPercent(spec.MinAvailable, int(s.scale), true)
	return s.scale, int32(n), err
}

// disrupted are the pods whose eviction was allowed and is still to show.
func (p *plan) disrupted(s state) map[string]metav1.Time {
	var out map[string]metav1.Time
	for _, pod := range s.pods {
		at, ok := s.budget.Status.DisruptedPods[pod.Name]
		if !ok || pod.DeletionTimestamp != nil {
			continue
		}
		left := at.Add(deletionTime).Sub(s.now)
		if left < 0 {
			p.notDeleted = append(p.notDeleted, pod)
			continue
		}
		if p.wakeAfter == 0 || left < p.wakeAfter {
			p.wakeAfter = left + time.Second
		}
		if out == nil {
			out = map[string]metav1.Time{}
		}
		out[pod.Name] = at
	}
	return out
}

func ready(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// sum adds up the sizes of distinct controllers.
func sum(sizes map[string]int32) int32 {
	n := int32(0)
	for v := range maps.Values(sizes) {
		n += v
	}
	return n
}
