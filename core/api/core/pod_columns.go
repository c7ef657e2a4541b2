package core

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/gantryio/gantry/core/api"
)

var podColumns = []api.Column[corev1.Pod]{
	api.NameColumn[corev1.Pod](),
	{
		Name: "Ready", Description: "The aggregate readiness state of this pod for accepting traffic.",
		Cell: func(p *corev1.Pod) any {
			s := summarize(p)
			return fmt.Sprintf("%d/%d", s.ready, s.total)
		},
	},
	{
		Name: "Status", Description: "The aggregate status of the containers in this pod.",
		Cell: func(p *corev1.Pod) any { return summarize(p).reason },
	},
	{
		Name: "Restarts", Description: "How often the containers were restarted and when the last container has exited.",
		Cell: func(p *corev1.Pod) any {
			s := summarize(p)
			if s.restarts != 0 && !s.lastExit.IsZero() {
				return fmt.Sprintf("%d (%s ago)", s.restarts, api.Age(s.lastExit))
			}
			return fmt.Sprint(s.restarts)
		},
	},
	api.AgeColumn[corev1.Pod](),
	{Name: "IP", Priority: 1, Description: "The address of the pod.", Cell: func(p *corev1.Pod) any { return orNone(firstPodIP(p)) }},
	{Name: "Node", Priority: 1, Description: "Where the pod runs.", Cell: func(p *corev1.Pod) any { return orNone(p.Spec.NodeName) }},
	{
		Name: "Nominated Node", Priority: 1, Description: "Where the scheduler makes room for it.",
		Cell: func(p *corev1.Pod) any { return orNone(p.Status.NominatedNodeName) },
	},
	{Name: "Readiness Gates", Priority: 1, Description: "How many of the readiness gates are open.", Cell: func(p *corev1.Pod) any { return readinessGates(p) }},
}

func readinessGates(p *corev1.Pod) string {
	if len(p.Spec.ReadinessGates) == 0 {
		return none
	}
	open := 0
	for _, gate := range p.Spec.ReadinessGates {
		if conditionTrue(p, gate.ConditionType) {
			open++
		}
	}
	return fmt.Sprintf("%d/%d", open, len(p.Spec.ReadinessGates))
}

func conditionTrue(p *corev1.Pod, t corev1.PodConditionType) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == t {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}
