package core

import (
	corev1 "k8s.io/api/core/v1"
)

// podGrace is how long the pod's agent has to stop it: as long as is asked for or the pod says, no time
// when there is nothing to stop.
func podGrace(pod *corev1.Pod, asked *int64) int64 {
	if pod.Spec.NodeName == "" || pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
		return 0
	}
	period := int64(corev1.DefaultTerminationGracePeriodSeconds)
	switch {
	case asked != nil:
		period = *asked
	case pod.Spec.TerminationGracePeriodSeconds != nil:
		period = *pod.Spec.TerminationGracePeriodSeconds
	}
	if period < 0 {
		return 1
	}
	return period
}

// endNamespace shows that the namespace is being emptied.
func endNamespace(ns *corev1.Namespace) { ns.Status.Phase = corev1.NamespaceTerminating }

// namespaceHeld keeps a deleted namespace until its content is gone.
func namespaceHeld(ns *corev1.Namespace) bool { return len(ns.Spec.Finalizers) > 0 }
