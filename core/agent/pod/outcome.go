package pod

import (
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Deadline is the verdict on a pod that outlived its activeDeadlineSeconds.
const (
	deadlineReason  = "DeadlineExceeded"
	deadlineMessage = "Pod was active on the node longer than the specified deadline"
)

func startTime(p *corev1.Pod, o *Observed) time.Time {
	if p.Status.StartTime != nil {
		return p.Status.StartTime.Time
	}
	return o.StartTime
}

func terminal(phase corev1.PodPhase) bool {
	return phase == corev1.PodSucceeded || phase == corev1.PodFailed
}

// verdict is the end that the node imposes, or nil.
func verdict(p *corev1.Pod, o *Observed, now time.Time) *Verdict {
	if o.Verdict != nil {
		return o.Verdict
	}
	if terminal(p.Status.Phase) && p.Status.Reason != "" {
		return &Verdict{Reason: p.Status.Reason, Message: p.Status.Message}
	}
	if d := p.Spec.ActiveDeadlineSeconds; d != nil && !now.Before(startTime(p, o).Add(time.Duration(*d)*time.Second)) {
		return &Verdict{Reason: deadlineReason, Message: deadlineMessage}
	}
	return nil
}

// ending tells whether a pod is over, though it is to stay in the API.
func ending(p *corev1.Pod, o *Observed, now time.Time) bool {
	if terminal(p.Status.Phase) || verdict(p, o, now) != nil {
		return true
	}
	_, over := tally(p, o)
	return over
}

// tally computes the phase from containers alone, and whether no container is going to run any more.
func tally(p *corev1.Pod, o *Observed) (phase corev1.PodPhase, over bool) {
	begun := false
	for i := range p.Spec.Containers {
		begun = begun || o.Newest(p.Spec.Containers[i].Name) != nil
	}
	if !begun {
		return initPhase(p, o)
	}
	var waiting, running, failed, done int
	for i := range p.Spec.Containers {
		c := &p.Spec.Containers[i]
		switch have := o.Newest(c.Name); {
		case have == nil || have.State == Created:
			waiting++
		case have.State != Exited:
			running++
		case o.again(p, c, have, false):
			running++
		case have.ExitCode == 0:
			done++
		default:
			failed++
		}
	}
	switch {
	case waiting > 0:
		return corev1.PodPending, false
	case running > 0:
		return corev1.PodRunning, false
	case failed > 0:
		return corev1.PodFailed, true
	}
	return corev1.PodSucceeded, true
}

func initPhase(p *corev1.Pod, o *Observed) (corev1.PodPhase, bool) {
	for i := range p.Spec.InitContainers {
		c := &p.Spec.InitContainers[i]
		have := o.Newest(c.Name)
		if have != nil && !Sidecar(c) && have.State == Exited && have.ExitCode != 0 && !restarts(p, c, have.ExitCode, true) {
			return corev1.PodFailed, true
		}
	}
	return corev1.PodPending, false
}

// Phase is the pod's phase. A pod that is over keeps its old phase until its last container has stopped.
func Phase(p *corev1.Pod, o *Observed, now time.Time) (phase corev1.PodPhase, reason, message string) {
	if terminal(p.Status.Phase) {
		return p.Status.Phase, p.Status.Reason, p.Status.Message
	}
	v := verdict(p, o, now)
	phase, over := tally(p, o)
	switch {
	case v != nil:
		if busy(p, o) {
			return p.Status.Phase, p.Status.Reason, p.Status.Message
		}
		return corev1.PodFailed, v.Reason, v.Message
	case p.DeletionTimestamp != nil && !over:
		if busy(p, o) || len(o.Containers) == 0 && p.Status.Phase == corev1.PodPending {
			return phase, "", ""
		}
		return stoppedPhase(p, o), "", ""
	case over && busy(p, o):
		return corev1.PodRunning, "", ""
	}
	return phase, "", ""
}

// busy tells whether a container runs or may be starting.
func busy(p *corev1.Pod, o *Observed) bool {
	live := false
	check := func(c *corev1.Container) {
		have := o.Newest(c.Name)
		live = live || o.Busy[ContainerSubject(c.Name)] || have != nil && (have.State == Running || have.State == Unknown)
	}
	eachMain(p, check)
	for i := range p.Spec.InitContainers {
		check(&p.Spec.InitContainers[i])
	}
	return live
}

// stoppedPhase is the phase of a deleted pod whose containers have all stopped.
func stoppedPhase(p *corev1.Pod, o *Observed) corev1.PodPhase {
	for i := range p.Spec.Containers {
		have := o.Newest(p.Spec.Containers[i].Name)
		if have == nil || have.ExitCode != 0 {
			return corev1.PodFailed
		}
	}
	return corev1.PodSucceeded
}
