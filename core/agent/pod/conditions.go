package pod

import (
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// conditions writes the conditions that are the node's; s has the phase and the container statuses already.
func conditions(s *corev1.PodStatus, p *corev1.Pod, o *Observed, now time.Time) {
	set := func(t corev1.PodConditionType, reason, message string, ok bool) {
		setCondition(s, corev1.PodCondition{
			Type: t, Status: boolStatus(ok), Reason: reason, Message: message, ObservedGeneration: p.Generation,
		}, now)
	}
	if findCondition(s, corev1.PodScheduled) == nil {
		set(corev1.PodScheduled, "", "", true)
	}
	sb := o.Current()
	set(corev1.PodReadyToStartContainers, "", "", sb != nil && (len(sb.IPs) > 0 || p.Spec.HostNetwork))
	initReason, initMessage := initialized(s, p)
	set(corev1.PodInitialized, initReason, initMessage, initReason == "" || initReason == "PodCompleted")
	reason, message := containersReady(s, p)
	set(corev1.ContainersReady, reason, message, reason == "")
	if reason == "" {
		reason, message = gatesReady(s, p)
	}
	set(corev1.PodReady, reason, message, reason == "")
	if v := o.Verdict; v != nil && v.Disruption != "" {
		set(corev1.DisruptionTarget, v.Disruption, v.Message, true)
	}
}

func boolStatus(ok bool) corev1.ConditionStatus {
	if ok {
		return corev1.ConditionTrue
	}
	return corev1.ConditionFalse
}

func findCondition(s *corev1.PodStatus, t corev1.PodConditionType) *corev1.PodCondition {
	for i := range s.Conditions {
		if s.Conditions[i].Type == t {
			return &s.Conditions[i]
		}
	}
	return nil
}

func setCondition(s *corev1.PodStatus, c corev1.PodCondition, now time.Time) {
	have := findCondition(s, c.Type)
	if have == nil {
		c.LastTransitionTime = metav1.NewTime(now)
		s.Conditions = append(s.Conditions, c)
		return
	}
	c.LastTransitionTime, c.LastProbeTime = have.LastTransitionTime, have.LastProbeTime
	if have.Status != c.Status {
		c.LastTransitionTime = metav1.NewTime(now)
	}
	*have = c
}

func initialized(s *corev1.PodStatus, p *corev1.Pod) (reason, message string) {
	if s.Phase == corev1.PodSucceeded {
		return "PodCompleted", ""
	}
	var incomplete []string
	for i := range p.Spec.InitContainers {
		st := &s.InitContainerStatuses[i]
		if Sidecar(&p.Spec.InitContainers[i]) {
			if st.Started == nil || !*st.Started {
				incomplete = append(incomplete, st.Name)
			}
		} else if !st.Ready {
			incomplete = append(incomplete, st.Name)
		}
	}
	if len(incomplete) == 0 || mainRan(s) {
		return "", ""
	}
	return "ContainersNotInitialized", fmt.Sprintf("containers with incomplete status: [%s]", strings.Join(incomplete, " "))
}

func mainRan(s *corev1.PodStatus) bool {
	for i := range s.ContainerStatuses {
		if s.ContainerStatuses[i].ContainerID != "" {
			return true
		}
	}
	return false
}

func containersReady(s *corev1.PodStatus, p *corev1.Pod) (reason, message string) {
	switch s.Phase {
	case corev1.PodSucceeded:
		return "PodCompleted", ""
	case corev1.PodFailed:
		return "PodFailed", ""
	}
	var unready []string
	for i := range p.Spec.InitContainers {
		if Sidecar(&p.Spec.InitContainers[i]) && !s.InitContainerStatuses[i].Ready {
			unready = append(unready, s.InitContainerStatuses[i].Name)
		}
	}
	for i := range s.ContainerStatuses {
		if !s.ContainerStatuses[i].Ready {
			unready = append(unready, s.ContainerStatuses[i].Name)
		}
	}
	if len(unready) == 0 {
		return "", ""
	}
	return "ContainersNotReady", fmt.Sprintf("containers with unready status: [%s]", strings.Join(unready, " "))
}

func gatesReady(s *corev1.PodStatus, p *corev1.Pod) (reason, message string) {
	var out []string
	for _, g := range p.Spec.ReadinessGates {
		switch c := findCondition(s, g.ConditionType); {
		case c == nil:
			out = append(out, fmt.Sprintf("corresponding condition of pod readiness gate %q does not exist.", g.ConditionType))
		case c.Status != corev1.ConditionTrue:
			out = append(out, fmt.Sprintf("the status of pod readiness gate %q is not \"True\", but %v", g.ConditionType, c.Status))
		}
	}
	if len(out) == 0 {
		return "", ""
	}
	return "ReadinessGatesNotReady", strings.Join(out, ", ")
}
