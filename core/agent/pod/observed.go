// Package pod decides what a node does about one pod. Everything in it is pure: Make turns the wanted pod, what is
// observed of it on the node and the time into actions, and Status turns the same into the status that the API
// shows. The agent observes and acts; it decides nothing by itself, so each rule is a line of a table test here.
package pod

import (
	"time"

	corev1 "k8s.io/api/core/v1"
)

// State is where a container is in its life.
type State int

// The states of a container as CRI knows them.
const (
	Created State = iota
	Running
	Exited
	Unknown
)

// Container is one incarnation of a container as a runtime reports it.
type Container struct {
	ID        string
	SandboxID string
	Name      string
	Attempt   uint32
	// Step is the restart back-off step that this incarnation was started with.
	Step int
	// Hash identifies the part of the spec that a container cannot outlive.
	Hash       string
	State      State
	CreatedAt  time.Time
	StartedAt  time.Time
	FinishedAt time.Time
	ExitCode   int32
	Signal     int32
	Reason     string
	Message    string
	Image      string
	ImageID    string
	// Hooked tells that the postStart hook, if any, has ended well.
	Hooked bool
	// User is the identity that the first process runs with, if the runtime tells.
	User *corev1.ContainerUser
	// StopSignal is the signal that the runtime stops it with, if it tells.
	StopSignal *corev1.Signal
	// Size is what it was given last, Noted tells that this is known, and Actual is what the runtime says that it has, if it
	// tells; 0 is unknown there.
	Size   Size
	Noted  bool
	Actual *Size
}

// Sandbox is one pod sandbox as a runtime reports it.
type Sandbox struct {
	ID        string
	Attempt   uint32
	Ready     bool
	CreatedAt time.Time
	IPs       []string
	// Stopped tells that StopPodSandbox succeeded, so that its network is released.
	Stopped bool
}

// Failure is a step that failed and waits to be tried again.
type Failure struct {
	Reason  string
	Message string
	Count   int
	At      time.Time
	RetryAt time.Time
}

// Image is the outcome of an image check for a container's next start.
type Image struct {
	Ref     string
	ID      string
	UID     *int64
	User    string
	Failure *Failure
}

// Probe is what the probes of a container's current incarnation say.
type Probe struct {
	ContainerID string
	// Started is true when there is no startup probe or it has succeeded.
	Started bool
	// Ready is true when there is no readiness probe or its last verdict was good.
	Ready bool
	// Unhealthy names the probe that demands a restart: "liveness" or "startup".
	Unhealthy string
}

// Verdict is an end that the node itself imposes on a pod.
type Verdict struct {
	Reason  string
	Message string
	// Grace overrides the pod's own grace period when it is not nil.
	Grace *int64
	// Disruption is the reason of a DisruptionTarget condition to set, if any.
	Disruption string
}

// Subject names what an action in flight works on; at most one action works on a subject at a time.
type Subject string

// The subjects that are not containers.
const (
	SubjectSandbox Subject = "sandbox"
	SubjectVolumes Subject = "volumes"
	SubjectResize  Subject = "resize"
	SubjectAPI     Subject = "api"
)

// ContainerSubject is the subject of starting and stopping a container.
func ContainerSubject(name string) Subject { return Subject("container/" + name) }

// ImageSubject is the subject of checking and pulling the image of a container.
func ImageSubject(name string) Subject { return Subject("image/" + name) }

// RemoveSubject is the subject of removing a dead container or sandbox.
func RemoveSubject(id string) Subject { return Subject("remove/" + id) }

// Observed is all that is known of a pod on this node. It belongs to the pod's goroutine.
type Observed struct {
	// Sandboxes are sorted newest first.
	Sandboxes []Sandbox
	// Containers holds the incarnations of each container, newest first.
	Containers map[string][]Container
	Images     map[string]Image
	Probes     map[string]Probe
	// Errors are failed starts by container.
	Errors  map[string]Failure
	Sandbox *Failure
	Volumes *Failure
	// VolumesReady tells that volumes are mounted, VolumesReleased that they are gone for good.
	VolumesReady    bool
	VolumesReleased bool
	// Cleared tells that the cgroup and the logs of a pod that is deleted are gone as well.
	Cleared bool
	Busy    map[Subject]bool
	// Killing holds until when a kill in flight lets a container live.
	Killing map[string]time.Time
	// Gone tells that the API has no such pod any more.
	Gone bool
	// Graceful gives a pod that is Gone its whole grace period. Of others who took them from the API has decided that.
	Graceful bool
	// Deleted tells that the final delete was accepted.
	Deleted bool
	// Synced tells that the API holds the status that follows from this observation.
	Synced  bool
	Verdict *Verdict
	Resize  Resize
	// StartTime is when the agent accepted the pod.
	StartTime time.Time
	// TerminationGrace overrides the grace of a probe-demanded kill, by container.
	TerminationGrace map[string]int64
}

// NewObserved returns an observation of nothing.
func NewObserved(start time.Time) *Observed {
	return &Observed{
		Containers: map[string][]Container{}, Images: map[string]Image{}, Probes: map[string]Probe{},
		Errors: map[string]Failure{}, Busy: map[Subject]bool{}, Killing: map[string]time.Time{}, StartTime: start,
	}
}

// Current returns the ready sandbox, or nil.
func (o *Observed) Current() *Sandbox {
	if len(o.Sandboxes) > 0 && o.Sandboxes[0].Ready && !o.Sandboxes[0].Stopped {
		return &o.Sandboxes[0]
	}
	return nil
}

// Newest returns the newest incarnation of a container, or nil.
func (o *Observed) Newest(name string) *Container {
	if cs := o.Containers[name]; len(cs) > 0 {
		return &cs[0]
	}
	return nil
}

// InSandbox returns the newest incarnation of a container in the given sandbox, or nil.
func (o *Observed) InSandbox(name string, sb *Sandbox) *Container {
	if c := o.Newest(name); c != nil && sb != nil && c.SandboxID == sb.ID {
		return c
	}
	return nil
}

// Put inserts or replaces an incarnation and keeps the newest first.
func (o *Observed) Put(c Container) {
	cs := o.Containers[c.Name]
	for i := range cs {
		if cs[i].ID == c.ID {
			c.Hooked = c.Hooked || cs[i].Hooked
			if c.Message == "" {
				c.Message = cs[i].Message
			}
			cs[i] = c
			return
		}
	}
	at := 0
	for at < len(cs) && newer(&cs[at], &c) {
		at++
	}
	cs = append(cs, Container{})
	copy(cs[at+1:], cs[at:])
	cs[at] = c
	o.Containers[c.Name] = cs
}

// Drop forgets an incarnation.
func (o *Observed) Drop(id string) {
	for name, cs := range o.Containers {
		for i := range cs {
			if cs[i].ID != id {
				continue
			}
			if cs = append(cs[:i:i], cs[i+1:]...); len(cs) == 0 {
				delete(o.Containers, name)
			} else {
				o.Containers[name] = cs
			}
			return
		}
	}
}

// PutSandbox inserts or replaces a sandbox and keeps the newest first.
func (o *Observed) PutSandbox(s Sandbox) {
	for i := range o.Sandboxes {
		if o.Sandboxes[i].ID == s.ID {
			s.Stopped = s.Stopped || o.Sandboxes[i].Stopped
			if len(s.IPs) == 0 {
				s.IPs = o.Sandboxes[i].IPs
			}
			o.Sandboxes[i] = s
			return
		}
	}
	at := 0
	for at < len(o.Sandboxes) && o.Sandboxes[at].Attempt > s.Attempt {
		at++
	}
	o.Sandboxes = append(o.Sandboxes, Sandbox{})
	copy(o.Sandboxes[at+1:], o.Sandboxes[at:])
	o.Sandboxes[at] = s
}

// DropSandbox forgets a sandbox and its containers.
func (o *Observed) DropSandbox(id string) {
	kept := o.Sandboxes[:0]
	for _, s := range o.Sandboxes {
		if s.ID != id {
			kept = append(kept, s)
		}
	}
	o.Sandboxes = kept
	for _, cs := range o.Containers {
		for _, c := range append([]Container(nil), cs...) {
			if c.SandboxID == id {
				o.Drop(c.ID)
			}
		}
	}
}

func newer(a, b *Container) bool {
	if a.Attempt != b.Attempt {
		return a.Attempt > b.Attempt
	}
	return !a.CreatedAt.Before(b.CreatedAt)
}
