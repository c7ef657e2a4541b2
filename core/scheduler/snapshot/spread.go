package snapshot

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// Spread is a topology spread constraint, parsed.
type Spread struct {
	Key        string
	MaxSkew    int64
	MinDomains int64
	Selector   labels.Selector
	Hard       bool // DoNotSchedule
	// Self is 1 when the pod itself is counted by its constraint.
	Self int64
	// HonorAffinity and HonorTaints leave nodes that the pod cannot use out of the count.
	HonorAffinity, HonorTaints bool
}

// SpreadDefaults are the constraints of pods that have none of their own.
type SpreadDefaults struct {
	Constraints []corev1.TopologySpreadConstraint
	// System are the built-in ones: nodes without one of the labels still take part.
	System bool
}

// SystemSpread is kube-scheduler's built-in default.
var SystemSpread = SpreadDefaults{System: true, Constraints: []corev1.TopologySpreadConstraint{
	{TopologyKey: corev1.LabelHostname, WhenUnsatisfiable: corev1.ScheduleAnyway, MaxSkew: 3},
	{TopologyKey: corev1.LabelTopologyZone, WhenUnsatisfiable: corev1.ScheduleAnyway, MaxSkew: 5},
}}

// spreadOf parses the pod's constraints, or else the defaults with the selector of what the pod belongs to.
func spreadOf(pod *corev1.Pod, defaults *SpreadDefaults, owner labels.Selector) (out []Spread, lenient bool, err error) {
	list, own := pod.Spec.TopologySpreadConstraints, true
	if len(list) == 0 {
		if defaults == nil || owner == nil || owner.Empty() {
			return nil, false, nil
		}
		list, own = defaults.Constraints, false
	}
	for i := range list {
		c := &list[i]
		s := Spread{
			Key: c.TopologyKey, MaxSkew: int64(c.MaxSkew), MinDomains: 1, Hard: c.WhenUnsatisfiable == corev1.DoNotSchedule,
			HonorAffinity: c.NodeAffinityPolicy == nil || *c.NodeAffinityPolicy == corev1.NodeInclusionPolicyHonor,
			HonorTaints:   c.NodeTaintsPolicy != nil && *c.NodeTaintsPolicy == corev1.NodeInclusionPolicyHonor,
			Selector:      owner,
		}
		if c.MinDomains != nil {
			s.MinDomains = int64(*c.MinDomains)
		}
		if own {
			if s.Selector, err = selectorOf(pod, c); err != nil {
				return nil, false, err
			}
		}
		if s.Selector.Matches(labels.Set(pod.Labels)) {
			s.Self = 1
		}
		out = append(out, s)
	}
	return out, !own && defaults.System, nil
}

// selectorOf adds the values that the pod has for matchLabelKeys, as the API server does on creation.
func selectorOf(pod *corev1.Pod, c *corev1.TopologySpreadConstraint) (labels.Selector, error) {
	s, err := metav1.LabelSelectorAsSelector(c.LabelSelector)
	if err != nil {
		return nil, fmt.Errorf("parse a spread constraint's labelSelector: %w", err)
	}
	if _, selectable := s.Requirements(); !selectable {
		return s, nil
	}
	for _, key := range c.MatchLabelKeys {
		if value, ok := pod.Labels[key]; ok {
			more, _ := labels.SelectorFromSet(labels.Set{key: value}).Requirements()
			s = s.Add(more...)
		}
	}
	return s, nil
}

// Counts tells whether the constraint counts pods of the shape.
func (s *Spread) Counts(namespace string, p *Shape) bool {
	return !s.Selector.Empty() && !p.Terminating && p.Namespace == namespace && s.Selector.Matches(p.Labels)
}
