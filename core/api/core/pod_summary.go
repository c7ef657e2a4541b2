package core

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// nodeLost is the reason of a pod whose node no longer reports.
const nodeLost = "NodeLost"

// podSummary is what the narrow table says of a pod.
type podSummary struct {
	ready, total, restarts int
	lastExit               metav1.Time
	reason                 string
}

// tally counts restarts and remembers the last exit.
type tally struct {
	restarts int
	lastExit metav1.Time
}

func (t *tally) add(s *corev1.ContainerStatus) {
	t.restarts += int(s.RestartCount)
	if end := s.LastTerminationState.Terminated; end != nil && t.lastExit.Before(&end.FinishedAt) {
		t.lastExit = end.FinishedAt
	}
}

// summarize explains a pod in one word as kubectl does: what keeps it from running comes first, the init
// containers before the others, and deletion over all.
func summarize(p *corev1.Pod) podSummary {
	s := podSummary{total: len(p.Spec.Containers), reason: string(p.Status.Phase)}
	if p.Status.Reason != "" {
		s.reason = p.Status.Reason
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Reason == corev1.PodReasonSchedulingGated {
			s.reason = corev1.PodReasonSchedulingGated
		}
	}
	sidecars := sidecarNames(p)
	s.total += len(sidecars)
	init, restartable, initializing := s.addInit(p, sidecars)
	count := init
	if !initializing || conditionTrue(p, corev1.PodInitialized) {
		count = restartable
		s.addContainers(p, &count)
	}
	s.restarts, s.lastExit = count.restarts, count.lastExit
	if p.DeletionTimestamp != nil {
		s.deleting(p)
	}
	return s
}

func (s *podSummary) deleting(p *corev1.Pod) {
	switch {
	case p.Status.Reason == nodeLost:
		s.reason = "Unknown"
	case p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed:
		s.reason = "Terminating"
	}
}

func sidecarNames(p *corev1.Pod) []string {
	var out []string
	for i := range p.Spec.InitContainers {
		if isSidecar(&p.Spec.InitContainers[i]) {
			out = append(out, p.Spec.InitContainers[i].Name)
		}
	}
	return out
}

func isSidecar(c *corev1.Container) bool {
	return c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
}

// addInit stops at the first init container that is not through, which gives the reason.
func (s *podSummary) addInit(p *corev1.Pod, sidecars []string) (all, restartable tally, initializing bool) {
	for i := range p.Status.InitContainerStatuses {
		c := &p.Status.InitContainerStatuses[i]
		sidecar := slices.Contains(sidecars, c.Name)
		all.add(c)
		if sidecar {
			restartable.add(c)
		}
		switch end, wait := c.State.Terminated, c.State.Waiting; {
		case end != nil && end.ExitCode == 0:
			continue
		case sidecar && isTrue(c.Started):
			if c.Ready {
				s.ready++
			}
			continue
		case end != nil:
			s.reason = "Init:" + exitReason(end)
		case wait != nil && wait.Reason != "" && wait.Reason != "PodInitializing":
			s.reason = "Init:" + wait.Reason
		default:
			s.reason = fmt.Sprintf("Init:%d/%d", i, len(p.Spec.InitContainers))
		}
		return all, restartable, true
	}
	return all, restartable, false
}

// addContainers lets the first container that has something to say give the reason.
func (s *podSummary) addContainers(p *corev1.Pod, count *tally) {
	running := false
	for i := range slices.Backward(p.Status.ContainerStatuses) {
		c := &p.Status.ContainerStatuses[i]
		count.add(c)
		switch {
		case c.State.Waiting != nil && c.State.Waiting.Reason != "":
			s.reason = c.State.Waiting.Reason
		case c.State.Terminated != nil:
			s.reason = exitReason(c.State.Terminated)
		case c.Ready && c.State.Running != nil:
			running = true
			s.ready++
		}
	}
	if s.reason != "Completed" || !running {
		return
	}
	if s.reason = "NotReady"; conditionTrue(p, corev1.PodReady) {
		s.reason = "Running"
	}
}

func exitReason(end *corev1.ContainerStateTerminated) string {
	switch {
	case end.Reason != "":
		return end.Reason
	case end.Signal != 0:
		return fmt.Sprintf("Signal:%d", end.Signal)
	}
	return fmt.Sprintf("ExitCode:%d", end.ExitCode)
}
