package core

import (
	"strconv"

	corev1 "k8s.io/api/core/v1"

	"github.com/gantryio/gantry/core/api"
)

// Pods is all that the server, the printer and the docs know of Pod.
var Pods = api.Kind[corev1.Pod]{
	Version: "v1", Name: "Pod", Plural: "pods", Short: []string{"po"}, Categories: []string{"all"}, Namespaced: true,
	Subresources: api.Status, Generation: true, StatusMetadata: true,
	Parts: map[string]api.Part[corev1.Pod]{
		"ephemeralcontainers": ephemeralContainers,
		"resize":              resize,
	},
	SharesBody:     true,
	Default:        DefaultPod,
	Prepare:        preparePod,
	Validate:       validatePod,
	ValidateStatus: validatePodStatus,
	Warn:           warnPod,
	Grace:          podGrace,
	Columns:        podColumns,
	Fields: map[string]func(*corev1.Pod) string{
		"spec.nodeName":            func(p *corev1.Pod) string { return p.Spec.NodeName },
		"spec.restartPolicy":       func(p *corev1.Pod) string { return string(p.Spec.RestartPolicy) },
		"spec.schedulerName":       func(p *corev1.Pod) string { return p.Spec.SchedulerName },
		"spec.serviceAccountName":  func(p *corev1.Pod) string { return p.Spec.ServiceAccountName },
		"spec.hostNetwork":         func(p *corev1.Pod) string { return strconv.FormatBool(p.Spec.HostNetwork) },
		"status.phase":             func(p *corev1.Pod) string { return string(p.Status.Phase) },
		"status.podIP":             firstPodIP,
		"status.podIPs":            firstPodIP,
		"status.nominatedNodeName": func(p *corev1.Pod) string { return p.Status.NominatedNodeName },
	},
	Indexed: []string{"spec.nodeName"},
}

func firstPodIP(p *corev1.Pod) string {
	if len(p.Status.PodIPs) > 0 {
		return p.Status.PodIPs[0].IP
	}
	return p.Status.PodIP
}
