// Package apps declares the kinds of the group apps/v1: what the server, the printer and the store know
// of Deployment, ReplicaSet, StatefulSet, DaemonSet and ControllerRevision.
package apps

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

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
