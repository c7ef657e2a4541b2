package pod

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Reasons for which containers wait. ErrImagePull is shown for a moment before the back-off is.
const (
	ErrImagePull     = "ErrImagePull"
	ImagePullBackOff = "ImagePullBackOff"
	CrashLoopBackOff = "CrashLoopBackOff"
	showPullError    = 2 * time.Second
)

// PostStart stands where a probe's name does when a container has to go because its postStart hook failed.
const PostStart = "postStart"

// run brings a pod up and keeps it up.
func (pl *Plan) run(p *corev1.Pod, o *Observed, now time.Time) {
	if d := p.Spec.ActiveDeadlineSeconds; d != nil {
		pl.wakeAt(startTime(p, o).Add(time.Duration(*d) * time.Second))
	}
	pl.volumes(o, now)
	sb := o.Current()
	if sb == nil {
		pl.sandbox(p, o, now)
	}
	for i := range o.Sandboxes {
		if s := &o.Sandboxes[i]; s != sb && !s.Stopped && !liveIn(o, s.ID) {
			pl.retrySandbox(o, Action{Verb: StopSandbox, ID: s.ID}, now)
		}
	}
	pl.holdStarts = !pl.resize(p, o, now)
	if pl.inits(p, o, sb, now) {
		for i := range p.Spec.Containers {
			pl.keep(p, &p.Spec.Containers[i], o, sb, false, now)
		}
	}
	for i := range p.Spec.EphemeralContainers {
		c := corev1.Container(p.Spec.EphemeralContainers[i].EphemeralContainerCommon)
		switch have := o.Newest(c.Name); {
		case have != nil && have.State == Created: // It never ran.
			pl.add(o, Action{Verb: RemoveContainer, Container: c.Name, ID: have.ID})
		case have == nil && !ran(apiStatus(p, c.Name)):
			pl.start(p, &c, o, sb, nil, now)
		}
	}
	pl.collect(o)
}

// ran tells of an ephemeral container, which runs once, that it did, though the runtime may not know of it any longer.
func ran(s *corev1.ContainerStatus) bool {
	return s != nil && (s.ContainerID != "" || s.State.Terminated != nil)
}

func (pl *Plan) volumes(o *Observed, now time.Time) {
	switch {
	case o.VolumesReady:
	case o.Volumes != nil && o.Volumes.RetryAt.After(now):
		pl.wakeAt(o.Volumes.RetryAt)
	default:
		pl.add(o, Action{Verb: PrepareVolumes})
	}
}

// sandbox makes a new sandbox once the containers of a dead one are stopped.
func (pl *Plan) sandbox(p *corev1.Pod, o *Observed, now time.Time) {
	attempt := uint32(0)
	for i := range o.Sandboxes {
		s := &o.Sandboxes[i]
		attempt = max(attempt, s.Attempt+1)
		for _, cs := range o.Containers {
			for j := range cs {
				if cs[j].SandboxID == s.ID && cs[j].State == Running {
					pl.kill(o, &cs[j], podGrace(p), "Pod sandbox changed, it will be killed and re-created.", now)
				}
			}
		}
		if !s.Stopped {
			return
		}
	}
	pl.retrySandbox(o, Action{Verb: RunSandbox, Attempt: attempt}, now)
}

func liveIn(o *Observed, id string) bool {
	for _, cs := range o.Containers {
		for i := range cs {
			if cs[i].SandboxID == id && cs[i].State == Running {
				return true
			}
		}
	}
	return false
}

// inits advances the init containers and keeps sidecars. It tells whether the main containers may run.
func (pl *Plan) inits(p *corev1.Pod, o *Observed, sb *Sandbox, now time.Time) bool {
	past := mainsBegun(p, o, sb)
	for i := range p.Spec.InitContainers {
		c := &p.Spec.InitContainers[i]
		if Sidecar(c) {
			pl.keep(p, c, o, sb, true, now)
			if !past && !started(o, c, sb) {
				return false
			}
			continue
		}
		if past {
			continue
		}
		if !initDone(o, c, sb) {
			pl.keep(p, c, o, sb, true, now)
			return false
		}
	}
	return true
}

// mainsBegun tells whether a main container was created in the current sandbox, so that initialisation is over.
func mainsBegun(p *corev1.Pod, o *Observed, sb *Sandbox) bool {
	for i := range p.Spec.Containers {
		if o.InSandbox(p.Spec.Containers[i].Name, sb) != nil {
			return true
		}
	}
	return false
}

func initDone(o *Observed, c *corev1.Container, sb *Sandbox) bool {
	have := o.InSandbox(c.Name, sb)
	return have != nil && have.State == Exited && have.ExitCode == 0
}

// started tells whether a sidecar is up, so that what comes after it may start.
func started(o *Observed, c *corev1.Container, sb *Sandbox) bool {
	have := o.InSandbox(c.Name, sb)
	return have != nil && have.State == Running && have.Hooked && probeOf(o, c, have).Started
}

// probeOf returns the probe verdicts of an incarnation; before the first verdict only absent probes are passed.
func probeOf(o *Observed, c *corev1.Container, have *Container) Probe {
	if pr, ok := o.Probes[c.Name]; ok && pr.ContainerID == have.ID {
		return pr
	}
	return Probe{ContainerID: have.ID, Started: c.StartupProbe == nil, Ready: c.StartupProbe == nil && c.ReadinessProbe == nil}
}

// keep starts, restarts or kills one container so that it is as its spec wants.
func (pl *Plan) keep(p *corev1.Pod, c *corev1.Container, o *Observed, sb *Sandbox, init bool, now time.Time) {
	have := o.InSandbox(c.Name, sb)
	switch {
	case have == nil:
		if prev := o.Newest(c.Name); prev == nil || prev.State == Exited {
			pl.start(p, c, o, sb, prev, now)
		}
	case have.State == Created:
		pl.add(o, Action{Verb: RemoveContainer, Container: c.Name, ID: have.ID})
	case have.State == Running:
		pl.keepRunning(p, c, o, have, init, now)
	case have.State == Unknown:
		pl.kill(o, have, podGrace(p), fmt.Sprintf("Container %s is in unknown state, try killing it before restart", c.Name), now)
	case o.again(p, c, have, init) || have.Hash != Hash(c):
		pl.start(p, c, o, sb, have, now)
	}
}

func (pl *Plan) keepRunning(p *corev1.Pod, c *corev1.Container, o *Observed, have *Container, init bool, now time.Time) {
	grace := podGrace(p)
	switch pr := probeOf(o, c, have); {
	case have.Hash != Hash(c) && (!init || Sidecar(c)):
		pl.kill(o, have, grace, fmt.Sprintf("Container %s definition changed, will be restarted", c.Name), now)
	case replaces(c, have.Size, SizeOf(p, c)):
		pl.killTo(o, have, Action{Grace: grace, Message: restartMessage(c), Resizes: true}, now)
	case pr.Unhealthy == PostStart:
		pl.kill(o, have, grace, "FailedPostStartHook", now)
	case pr.Unhealthy != "":
		if g, ok := o.TerminationGrace[c.Name]; ok {
			grace = max(1, g)
		}
		pl.kill(o, have, grace, fmt.Sprintf("Container %s failed %s probe, will be restarted", c.Name, pr.Unhealthy), now)
	}
}

// start readies the image and starts the next incarnation when all that it needs is there and no back-off holds it.
func (pl *Plan) start(p *corev1.Pod, c *corev1.Container, o *Observed, sb *Sandbox, prev *Container, now time.Time) {
	resized := prev != nil && o.Resize.Restarts[c.Name] == prev.ID
	if prev != nil && !resized {
		if at := RestartAt(prev, Hash(c)); at.After(now) {
			pl.wakeAt(at)
			return
		}
	}
	if e, ok := o.Errors[c.Name]; ok && e.RetryAt.After(now) {
		pl.wakeAt(e.RetryAt)
		return
	}
	img, ok := o.Images[c.Name]
	switch {
	case o.Busy[ContainerSubject(c.Name)]:
		return
	case ok && img.Failure != nil && img.Failure.RetryAt.After(now):
		pl.wakeAt(img.Failure.RetryAt)
		if at := img.Failure.At.Add(showPullError); at.After(now) {
			pl.wakeAt(at)
		}
		return
	case !ok || img.Failure != nil:
		pl.add(o, Action{Verb: CheckImage, Container: c.Name})
		return
	}
	if sb == nil || !o.VolumesReady || pl.holdStarts {
		return
	}
	step := NextStep(prev, Hash(c))
	if resized {
		step = prev.Step
	}
	pl.add(o, Action{Verb: StartContainer, Container: c.Name, ID: sb.ID, Attempt: nextAttempt(p, c.Name, prev), Step: step})
}

// nextAttempt is the incarnation number after the newest one known to the runtime or, failing that, to the API.
func nextAttempt(p *corev1.Pod, name string, prev *Container) uint32 {
	if prev != nil {
		return prev.Attempt + 1
	}
	if st := apiStatus(p, name); st != nil && (st.ContainerID != "" || st.RestartCount > 0) {
		return uint32(st.RestartCount) + 1
	}
	return 0
}

func apiStatus(p *corev1.Pod, name string) *corev1.ContainerStatus {
	for _, list := range [][]corev1.ContainerStatus{
		p.Status.ContainerStatuses, p.Status.InitContainerStatuses, p.Status.EphemeralContainerStatuses,
	} {
		for i := range list {
			if list[i].Name == name {
				return &list[i]
			}
		}
	}
	return nil
}
