package pod

import (
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Verb is what an action does.
type Verb string

// The verbs, each idempotent.
const (
	PrepareVolumes  Verb = "PrepareVolumes"
	ReleaseVolumes  Verb = "ReleaseVolumes"
	RunSandbox      Verb = "RunSandbox"
	StopSandbox     Verb = "StopSandbox"
	RemoveSandbox   Verb = "RemoveSandbox"
	CheckImage      Verb = "CheckImage"
	StartContainer  Verb = "StartContainer"
	KillContainer   Verb = "KillContainer"
	RemoveContainer Verb = "RemoveContainer"
	DeletePod       Verb = "DeletePod"
	ResizePod       Verb = "ResizePod"
)

// Action is one thing to do now. Actions of one plan are independent of each other and run at the same time.
type Action struct {
	Verb      Verb
	Container string
	ID        string
	Attempt   uint32
	Step      int
	// Grace is how long a killed container may live on, in seconds.
	Grace int64
	// Message is what the Killing event says.
	Message string
	// Resizes tells that a container is killed to be started with another size.
	Resizes bool
}

// Subject is what the action works on.
func (a Action) Subject() Subject {
	switch a.Verb {
	case PrepareVolumes, ReleaseVolumes:
		return SubjectVolumes
	case RunSandbox:
		return SubjectSandbox
	case ResizePod:
		return SubjectResize
	case CheckImage:
		return ImageSubject(a.Container)
	case StartContainer, KillContainer:
		return ContainerSubject(a.Container)
	case DeletePod:
		return SubjectAPI
	default:
		return RemoveSubject(a.ID)
	}
}

// Plan is what to do now and when to think again at the latest.
type Plan struct {
	Actions []Action
	// Wake is zero when nothing but an event can change the plan.
	Wake time.Time
	// Ending tells that the pod is being stopped for good: pulls and starts in flight are to be given up.
	Ending bool
	// Done tells that nothing of the pod is left on the node and nothing remains to be told.
	Done bool

	// holdStarts tells that the pod's own cgroup is being resized, which comes before its containers.
	holdStarts bool
}

func (p *Plan) add(o *Observed, a Action) {
	if !o.Busy[a.Subject()] {
		p.Actions = append(p.Actions, a)
	}
}

func (p *Plan) wakeAt(t time.Time) {
	if p.Wake.IsZero() || t.Before(p.Wake) {
		p.Wake = t
	}
}

// Make decides what to do for a pod.
func Make(p *corev1.Pod, o *Observed, now time.Time) Plan {
	var plan Plan
	switch {
	case o.Gone || o.Deleted || p.DeletionTimestamp != nil:
		plan.Ending = true
		plan.stop(p, o, now)
	case ending(p, o, now):
		plan.Ending = true
		plan.settle(p, o, now)
	default:
		plan.run(p, o, now)
	}
	return plan
}

// stop ends a pod that is to be deleted: containers, sandbox, the API object, and then what is left of it.
func (pl *Plan) stop(p *corev1.Pod, o *Observed, now time.Time) {
	if !pl.quiet(p, o, deletionGrace(p, o, now), now) {
		return
	}
	if !o.Gone && !o.Deleted {
		if len(p.Finalizers) == 0 || o.Synced {
			pl.add(o, Action{Verb: DeletePod})
		}
		return
	}
	pl.clean(o, now)
}

// settle ends a pod that is to stay in the API: its containers are kept for their logs.
func (pl *Plan) settle(p *corev1.Pod, o *Observed, now time.Time) {
	if !pl.quiet(p, o, settleGrace(p, o), now) {
		return
	}
	if !o.VolumesReleased {
		pl.add(o, Action{Verb: ReleaseVolumes})
	}
	pl.collect(o)
}

// clean removes everything. It is done when nothing is left.
func (pl *Plan) clean(o *Observed, now time.Time) {
	for i := range o.Sandboxes {
		pl.add(o, Action{Verb: RemoveSandbox, ID: o.Sandboxes[i].ID})
	}
	for name, cs := range o.Containers {
		for i := range cs {
			if !o.hasSandbox(cs[i].SandboxID) {
				pl.add(o, Action{Verb: RemoveContainer, Container: name, ID: cs[i].ID})
			}
		}
	}
	if len(o.Sandboxes) > 0 || len(o.Containers) > 0 || len(o.Busy) > 0 {
		return
	}
	if !o.Cleared {
		if o.Volumes != nil && o.Volumes.RetryAt.After(now) {
			pl.wakeAt(o.Volumes.RetryAt)
			return
		}
		pl.add(o, Action{Verb: ReleaseVolumes})
		return
	}
	pl.Done = true
}

// quiet stops containers, main ones first and sidecars in reverse order, then sandboxes. It tells whether all is still.
func (pl *Plan) quiet(p *corev1.Pod, o *Observed, grace int64, now time.Time) bool {
	still := true
	stop := func(c *corev1.Container) {
		if o.Busy[ContainerSubject(c.Name)] && o.Killing[c.Name].IsZero() {
			still = false
			return
		}
		for i := range o.Containers[c.Name] {
			if live := &o.Containers[c.Name][i]; live.State == Running || live.State == Unknown {
				still = false
				pl.kill(o, live, grace, "Stopping container "+c.Name, now)
			}
		}
	}
	eachMain(p, stop)
	for i := range p.Spec.InitContainers {
		if c := &p.Spec.InitContainers[i]; !Sidecar(c) {
			stop(c)
		}
	}
	for i := len(p.Spec.InitContainers) - 1; i >= 0 && still; i-- {
		if c := &p.Spec.InitContainers[i]; Sidecar(c) {
			stop(c)
		}
	}
	if !still || o.Busy[SubjectSandbox] {
		return false
	}
	for i := range o.Sandboxes {
		if s := &o.Sandboxes[i]; !s.Stopped {
			still = false
			pl.retrySandbox(o, Action{Verb: StopSandbox, ID: s.ID}, now)
		}
	}
	return still
}

func (pl *Plan) retrySandbox(o *Observed, a Action, now time.Time) {
	if o.Sandbox != nil && o.Sandbox.RetryAt.After(now) {
		pl.wakeAt(o.Sandbox.RetryAt)
		return
	}
	pl.add(o, a)
}

// kill asks for a container's end. A kill in flight is repeated only to shorten it.
func (pl *Plan) kill(o *Observed, c *Container, grace int64, message string, now time.Time) {
	pl.killTo(o, c, Action{Grace: grace, Message: message}, now)
}

func (pl *Plan) killTo(o *Observed, c *Container, a Action, now time.Time) {
	until := now.Add(time.Duration(a.Grace) * time.Second)
	a.Verb, a.Container, a.ID = KillContainer, c.Name, c.ID
	if held := o.Killing[c.Name]; !held.IsZero() {
		if until.Before(held.Add(-time.Second)) {
			pl.Actions = append(pl.Actions, a)
		}
		return
	}
	pl.add(o, a)
}

// collect removes what no reader needs: all but the two newest incarnations, and sandboxes without a kept one.
func (pl *Plan) collect(o *Observed) {
	kept := map[string]bool{}
	for name, cs := range o.Containers {
		for i := range cs {
			if i < 2 || cs[i].State == Running {
				kept[cs[i].SandboxID] = true
				continue
			}
			pl.add(o, Action{Verb: RemoveContainer, Container: name, ID: cs[i].ID})
		}
	}
	for i := range o.Sandboxes {
		if s := &o.Sandboxes[i]; i > 0 && s.Stopped && !kept[s.ID] {
			pl.add(o, Action{Verb: RemoveSandbox, ID: s.ID})
		}
	}
}

func (o *Observed) hasSandbox(id string) bool {
	for i := range o.Sandboxes {
		if o.Sandboxes[i].ID == id {
			return true
		}
	}
	return false
}

// deletionGrace is what is left of a deleted pod's grace period, in whole seconds and at least one. The API cuts the
// fraction off the time at which the period ends, so up to a second more is left than it says.
func deletionGrace(p *corev1.Pod, o *Observed, now time.Time) int64 {
	if o.Gone && o.Graceful {
		return podGrace(p)
	}
	if o.Gone || o.Deleted || p.DeletionTimestamp == nil {
		return 1
	}
	left := int64((p.DeletionTimestamp.Sub(now) + 2*time.Second - 1) / time.Second)
	full := podGrace(p)
	if p.DeletionGracePeriodSeconds != nil {
		full = *p.DeletionGracePeriodSeconds
	}
	return max(1, min(left, full))
}

func settleGrace(p *corev1.Pod, o *Observed) int64 {
	if o.Verdict != nil && o.Verdict.Grace != nil {
		return max(1, *o.Verdict.Grace)
	}
	return podGrace(p)
}

func podGrace(p *corev1.Pod) int64 {
	if g := p.Spec.TerminationGracePeriodSeconds; g != nil {
		return max(1, *g)
	}
	return corev1.DefaultTerminationGracePeriodSeconds
}

func eachMain(p *corev1.Pod, f func(*corev1.Container)) {
	for i := range p.Spec.Containers {
		f(&p.Spec.Containers[i])
	}
	for i := range p.Spec.EphemeralContainers {
		c := corev1.Container(p.Spec.EphemeralContainers[i].EphemeralContainerCommon)
		f(&c)
	}
}
