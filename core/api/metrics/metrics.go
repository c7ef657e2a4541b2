// Package metrics declares the kinds of metrics.k8s.io/v1beta1: what nodes and pods use at this time. Nothing of them is
// stored; they are computed from what the agents measure when somebody asks.
package metrics

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metricsv1beta1 "k8s.io/metrics/pkg/apis/metrics/v1beta1"

	"github.com/gantryio/gantry/core/api"
)

// NodeMetrics is all that the server, the printer and the docs know of NodeMetrics.
var NodeMetrics = api.Kind[metricsv1beta1.NodeMetrics]{
	Group: metricsv1beta1.GroupName, Version: "v1beta1", Name: "NodeMetrics", Plural: "nodes", Computed: true,
	Columns: []api.Column[metricsv1beta1.NodeMetrics]{
		api.NameColumn[metricsv1beta1.NodeMetrics](),
		{Name: "cpu", Format: "quantity", Description: "The cores in use.", Cell: func(m *metricsv1beta1.NodeMetrics) any { return text(m.Usage, corev1.ResourceCPU) }},
		{Name: "memory", Format: "quantity", Description: "The memory in use.", Cell: func(m *metricsv1beta1.NodeMetrics) any { return text(m.Usage, corev1.ResourceMemory) }},
		{Name: "Window", Format: "duration", Description: "The time that was measured.", Cell: func(m *metricsv1beta1.NodeMetrics) any { return m.Window.Duration.String() }},
	},
}

// PodMetrics is all that the server, the printer and the docs know of PodMetrics.
var PodMetrics = api.Kind[metricsv1beta1.PodMetrics]{
	Group: metricsv1beta1.GroupName, Version: "v1beta1", Name: "PodMetrics", Plural: "pods", Namespaced: true, Computed: true,
	Columns: []api.Column[metricsv1beta1.PodMetrics]{
		api.NameColumn[metricsv1beta1.PodMetrics](),
		{Name: "cpu", Format: "quantity", Description: "The cores in use.", Cell: func(m *metricsv1beta1.PodMetrics) any { return text(sum(m), corev1.ResourceCPU) }},
		{Name: "memory", Format: "quantity", Description: "The memory in use.", Cell: func(m *metricsv1beta1.PodMetrics) any { return text(sum(m), corev1.ResourceMemory) }},
		{Name: "Window", Format: "duration", Description: "The time that was measured.", Cell: func(m *metricsv1beta1.PodMetrics) any { return m.Window.Duration.String() }},
	},
}

func text(list corev1.ResourceList, name corev1.ResourceName) string {
	q := list[name]
	return q.String()
}

// sum is what all containers of a pod use.
func sum(m *metricsv1beta1.PodMetrics) corev1.ResourceList {
	cpu, memory := resource.NewScaledQuantity(0, resource.Nano), resource.NewQuantity(0, resource.BinarySI)
	for i := range m.Containers {
		cpu.Add(m.Containers[i].Usage[corev1.ResourceCPU])
		memory.Add(m.Containers[i].Usage[corev1.ResourceMemory])
	}
	return corev1.ResourceList{corev1.ResourceCPU: *cpu, corev1.ResourceMemory: *memory}
}
