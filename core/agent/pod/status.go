package pod

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/kubectl/pkg/util/qos"
)

// Node is what a pod's status says of the node.
type Node struct {
	IPs []string
	// RuntimePrefix stands before container ids, such as "containerd".
	RuntimePrefix string
}

// Status computes the status that the API should show. It keeps the conditions that are not the node's to write.
func Status(p *corev1.Pod, o *Observed, node Node, now time.Time) corev1.PodStatus {
	s := *p.Status.DeepCopy()
	s.ObservedGeneration = p.Generation
	s.QOSClass = qos.GetPodQOS(p)
	start := metav1.NewTime(startTime(p, o))
	s.StartTime = &start
	s.HostIP, s.HostIPs = "", nil
	for i, ip := range node.IPs {
		if i == 0 {
			s.HostIP = ip
		}
		s.HostIPs = append(s.HostIPs, corev1.HostIP{IP: ip})
	}
	podIPs(&s, p, o, node)
	s.Phase, s.Reason, s.Message = Phase(p, o, now)
	b := builder{p: p, o: o, node: node, now: now, phase: s.Phase}
	s.InitContainerStatuses = b.list(p.Spec.InitContainers, true)
	s.ContainerStatuses = b.list(p.Spec.Containers, false)
	s.EphemeralContainerStatuses = nil
	for i := range p.Spec.EphemeralContainers {
		c := corev1.Container(p.Spec.EphemeralContainers[i].EphemeralContainerCommon)
		s.EphemeralContainerStatuses = append(s.EphemeralContainerStatuses, b.ephemeral(&c))
	}
	if r := p.Spec.Resources; r != nil {
		s.AllocatedResources, s.Resources = requests(p), wholeSize(p, o)
	}
	conditions(&s, p, o, now)
	resizeConditions(&s, p, o, now)
	return s
}

func podIPs(s *corev1.PodStatus, p *corev1.Pod, o *Observed, node Node) {
	var ips []string
	if sb := o.Current(); sb != nil {
		if ips = sb.IPs; p.Spec.HostNetwork {
			ips = node.IPs
		}
	}
	if len(ips) == 0 {
		return
	}
	s.PodIP, s.PodIPs = ips[0], nil
	for _, ip := range ips {
		s.PodIPs = append(s.PodIPs, corev1.PodIP{IP: ip})
	}
}

type builder struct {
	p     *corev1.Pod
	o     *Observed
	node  Node
	now   time.Time
	phase corev1.PodPhase
}

func (b *builder) list(specs []corev1.Container, init bool) []corev1.ContainerStatus {
	if len(specs) == 0 {
		return nil
	}
	out := make([]corev1.ContainerStatus, 0, len(specs))
	for i := range specs {
		out = append(out, b.one(&specs[i], init))
	}
	return out
}

// ephemeral is the status of a container that runs once: it is neither ready nor started, and never waits to run again.
func (b *builder) ephemeral(c *corev1.Container) corev1.ContainerStatus {
	have, old := b.o.Newest(c.Name), apiStatus(b.p, c.Name)
	if have == nil && ran(old) {
		st := *old.DeepCopy()
		st.State = corev1.ContainerState{Terminated: lost(old)}
		return st
	}
	st := b.one(c, false)
	if have != nil {
		st.State, st.LastTerminationState = b.state(have), corev1.ContainerState{}
	}
	st.Ready, st.Started = false, nil
	return st
}

func (b *builder) one(c *corev1.Container, init bool) corev1.ContainerStatus {
	st := corev1.ContainerStatus{Name: c.Name, Image: c.Image}
	have := b.o.Newest(c.Name)
	old := apiStatus(b.p, c.Name)
	if have == nil {
		return b.absent(c, old, init)
	}
	st.RestartCount = int32(have.Attempt)
	st.ContainerID = b.id(have)
	st.ImageID = have.ImageID
	if have.Image != "" {
		st.Image = have.Image
	}
	st.User, st.StopSignal = have.User, have.StopSignal
	st.AllocatedResources, st.Resources = c.Resources.Requests.DeepCopy(), actual(c, have)
	pr := probeOf(b.o, c, have)
	up := have.State == Running && have.Hooked
	st.State = b.state(have)
	if cs := b.o.Containers[c.Name]; len(cs) > 1 && cs[1].State == Exited {
		st.LastTerminationState = b.state(&cs[1])
	} else if old != nil && have.Attempt > 0 {
		st.LastTerminationState = *old.LastTerminationState.DeepCopy()
		if old.State.Terminated != nil && old.ContainerID != st.ContainerID {
			st.LastTerminationState.Terminated = old.State.Terminated.DeepCopy()
		}
	}
	started := up && pr.Started
	st.Started = &started
	st.Ready = started && pr.Ready
	if init && !Sidecar(c) {
		st.Ready = have.State == Exited && have.ExitCode == 0
	}
	if have.State == Exited && b.o.Resize.Restarts[c.Name] == have.ID && !terminal(b.phase) {
		st.LastTerminationState, st.State = st.State, created
	} else if have.State == Exited && b.waits(c, have, init) {
		st.LastTerminationState = st.State
		st.State = corev1.ContainerState{Waiting: b.waiting(c, have)}
	}
	return st
}

// waits tells whether an ended container is shown as one that is about to run again.
func (b *builder) waits(c *corev1.Container, have *Container, init bool) bool {
	if terminal(b.phase) || b.p.DeletionTimestamp != nil || verdict(b.p, b.o, b.now) != nil {
		return false
	}
	return restarts(b.p, c, have.ExitCode, init) && b.waiting(c, have) != nil
}

// waiting says what holds the next incarnation of an ended container, or nil when nothing does.
func (b *builder) waiting(c *corev1.Container, have *Container) *corev1.ContainerStateWaiting {
	if w := b.held(c); w != nil {
		return w
	}
	at := RestartAt(have, Hash(c))
	if !at.After(b.now) {
		return nil
	}
	return &corev1.ContainerStateWaiting{
		Reason: CrashLoopBackOff,
		Message: fmt.Sprintf("back-off %s restarting failed container=%s pod=%s_%s(%s)",
			restartDelay(have, Hash(c)), c.Name, b.p.Name, b.p.Namespace, b.p.UID),
	}
}

// held says which failure keeps a container from starting, or nil.
func (b *builder) held(c *corev1.Container) *corev1.ContainerStateWaiting {
	if e, ok := b.o.Errors[c.Name]; ok {
		return &corev1.ContainerStateWaiting{Reason: e.Reason, Message: e.Message}
	}
	if img, ok := b.o.Images[c.Name]; ok && img.Failure != nil {
		return pulling(img.Failure, c.Image, b.now)
	}
	return nil
}

// pulling shows a failed pull first as what it is and then, for the rest of its back-off, as waiting.
func pulling(f *Failure, image string, now time.Time) *corev1.ContainerStateWaiting {
	if f.Reason == ErrImagePull && !now.Before(f.At.Add(showPullError)) {
		return &corev1.ContainerStateWaiting{
			Reason: ImagePullBackOff, Message: fmt.Sprintf("Back-off pulling image %q: %s: %s", image, ErrImagePull, f.Message),
		}
	}
	return &corev1.ContainerStateWaiting{Reason: f.Reason, Message: f.Message}
}

// absent is the status of a container that the runtime does not know.
func (b *builder) absent(c *corev1.Container, old *corev1.ContainerStatus, init bool) corev1.ContainerStatus {
	no := false
	st := corev1.ContainerStatus{Name: c.Name, Image: c.Image, Started: &no}
	if old != nil && (old.State.Terminated != nil || old.ContainerID != "") {
		st = *old.DeepCopy()
		st.Started = &no
		if init && old.State.Terminated != nil {
			return st
		}
		st.Ready = false
	}
	if terminal(b.phase) && old != nil && old.State.Terminated != nil {
		return st
	}
	if old != nil && old.ContainerID != "" && (terminal(b.phase) || b.p.DeletionTimestamp != nil) {
		st.State = corev1.ContainerState{Terminated: lost(old)}
		return st
	}
	if w := b.held(c); w != nil {
		st.State = corev1.ContainerState{Waiting: w}
		return st
	}
	reason := "ContainerCreating"
	if len(b.p.Spec.InitContainers) > 0 { // for all of them, as kubelet says it
		reason = "PodInitializing"
	}
	st.State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason}}
	return st
}

// lost stands for the end of a container that nobody saw.
func lost(old *corev1.ContainerStatus) *corev1.ContainerStateTerminated {
	if t := old.State.Terminated; t != nil {
		return t.DeepCopy()
	}
	t := &corev1.ContainerStateTerminated{
		ExitCode: 137, Reason: "ContainerStatusUnknown", ContainerID: old.ContainerID,
		Message: "The container could not be located when the pod was terminated",
	}
	if old.State.Running != nil {
		t.StartedAt = old.State.Running.StartedAt
	}
	return t
}

func (b *builder) id(c *Container) string { return b.node.RuntimePrefix + "://" + c.ID }

func (b *builder) state(c *Container) corev1.ContainerState {
	switch c.State {
	case Running:
		return corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(c.StartedAt)}}
	case Exited:
		return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
			ExitCode: c.ExitCode, Signal: c.Signal, Reason: endReason(c), Message: c.Message, ContainerID: b.id(c),
			StartedAt: metav1.NewTime(c.StartedAt), FinishedAt: metav1.NewTime(c.FinishedAt),
		}}
	case Created:
		return created
	}
	return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ContainerStatusUnknown"}}
}

var created = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ContainerCreating"}}

func endReason(c *Container) string {
	switch {
	case c.Reason != "":
		return c.Reason
	case c.ExitCode == 0:
		return "Completed"
	}
	return "Error"
}

// Same tells whether two statuses say the same. Times are compared as the API stores them, in whole seconds.
func Same(a, b *corev1.PodStatus) bool {
	x, y := a.DeepCopy(), b.DeepCopy()
	normalise(x)
	normalise(y)
	// The message is canonical for our purpose: maps are written in order, and times in whole seconds.
	m, err := x.Marshal()
	n, err2 := y.Marshal()
	return err == nil && err2 == nil && bytes.Equal(m, n)
}

func normalise(s *corev1.PodStatus) {
	slices.SortFunc(s.Conditions, func(a, b corev1.PodCondition) int { return strings.Compare(string(a.Type), string(b.Type)) })
	for i := range s.Conditions {
		whole(&s.Conditions[i].LastTransitionTime)
		whole(&s.Conditions[i].LastProbeTime)
	}
	if s.StartTime != nil {
		whole(s.StartTime)
	}
	for _, list := range [][]corev1.ContainerStatus{s.ContainerStatuses, s.InitContainerStatuses, s.EphemeralContainerStatuses} {
		for i := range list {
			for _, st := range []*corev1.ContainerState{&list[i].State, &list[i].LastTerminationState} {
				if st.Running != nil {
					whole(&st.Running.StartedAt)
				}
				if st.Terminated != nil {
					whole(&st.Terminated.StartedAt)
					whole(&st.Terminated.FinishedAt)
				}
			}
		}
	}
}

func whole(t *metav1.Time) {
	if !t.IsZero() {
		*t = metav1.NewTime(t.Truncate(time.Second).UTC())
	}
}
