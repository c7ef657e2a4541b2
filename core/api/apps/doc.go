// Package apps declares the kinds of the group apps/v1: what the server, the printer and the store know
// of Deployment, ReplicaSet and ControllerRevision.
package apps

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func containerNames(t *corev1.PodTemplateSpec) string {
	return joinContainers(t, func(c *corev1.Container) string { return c.Name })
}

func containerImages(t *corev1.PodTemplateSpec) string {
	return joinContainers(t, func(c *corev1.Container) string { return c.Image })
}

func joinContainers(t *corev1.PodTemplateSpec, part func(*corev1.Container) string) string {
	out := make([]string, len(t.Spec.Containers))
	for i := range t.Spec.Containers {
		out[i] = part(&t.Spec.Containers[i])
	}
	return strings.Join(out, ",")
}

// selectorText is the selector as the scale subresource and the table show it.
func selectorText(s *metav1.LabelSelector) string {
	selector, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		return "<error>"
	}
	return selector.String()
}

func replicasOf(p *int32) int32 {
	if p == nil {
		return 1
	}
	return *p
}
