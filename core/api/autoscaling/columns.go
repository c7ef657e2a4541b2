package autoscaling

import (
	"fmt"
	"strconv"
	"strings"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/api/resource"
)

const (
	unknown = "<unknown>"
	// printedMetrics is how many metrics the table has room for.
	printedMetrics = 2
)

func minimumText(n *int32) string {
	if n == nil {
		return "<unset>"
	}
	return strconv.Itoa(int(*n))
}

func metricsText(specs []autoscalingv2.MetricSpec, statuses []autoscalingv2.MetricStatus) string {
	if len(specs) == 0 {
		return "<none>"
	}
	var list []string
	for i := range min(len(specs), printedMetrics) {
		var status autoscalingv2.MetricStatus
		if i < len(statuses) {
			status = statuses[i]
		}
		list = append(list, metricText(&specs[i], &status))
	}
	text := strings.Join(list, ", ")
	if more := len(specs) - printedMetrics; more > 0 {
		return fmt.Sprintf("%s + %d more...", text, more)
	}
	return text
}

// metricText is "current/target" of one metric; a status of another type is none.
func metricText(m *autoscalingv2.MetricSpec, status *autoscalingv2.MetricStatus) string {
	var current autoscalingv2.MetricValueStatus
	switch {
	case m.Type == autoscalingv2.ExternalMetricSourceType && m.External != nil:
		if status.External != nil {
			current = status.External.Current
		}
		return valueText(&m.External.Target, &current)
	case m.Type == autoscalingv2.ObjectMetricSourceType && m.Object != nil:
		if status.Object != nil {
			current = status.Object.Current
		}
		return valueText(&m.Object.Target, &current)
	case m.Type == autoscalingv2.PodsMetricSourceType && m.Pods != nil:
		if status.Pods != nil {
			current = status.Pods.Current
		}
		return quantityText(current.AverageValue) + "/" + quantityText(m.Pods.Target.AverageValue)
	case m.Type == autoscalingv2.ResourceMetricSourceType && m.Resource != nil:
		if status.Resource != nil {
			current = status.Resource.Current
		}
		return m.Resource.Name.String() + ": " + usageText(&m.Resource.Target, &current)
	case m.Type == autoscalingv2.ContainerResourceMetricSourceType && m.ContainerResource != nil:
		if status.ContainerResource != nil {
			current = status.ContainerResource.Current
		}
		return m.ContainerResource.Name.String() + ": " + usageText(&m.ContainerResource.Target, &current)
	}
	return "<unknown type>"
}

func valueText(target *autoscalingv2.MetricTarget, current *autoscalingv2.MetricValueStatus) string {
	if target.AverageValue != nil {
		return quantityText(current.AverageValue) + "/" + target.AverageValue.String() + " (avg)"
	}
	return quantityText(current.Value) + "/" + quantityText(target.Value)
}

func usageText(target *autoscalingv2.MetricTarget, current *autoscalingv2.MetricValueStatus) string {
	if target.AverageValue != nil {
		return quantityText(current.AverageValue) + "/" + target.AverageValue.String()
	}
	return percentText(current.AverageUtilization, unknown) + "/" + percentText(target.AverageUtilization, "<auto>")
}

func quantityText(q *resource.Quantity) string {
	if q == nil {
		return unknown
	}
	return q.String()
}

func percentText(n *int32, none string) string {
	if n == nil {
		return none
	}
	return strconv.Itoa(int(*n)) + "%"
}
