package pod

import (
	"fmt"
	"math"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Resize is what is known of the resize of a pod (KEP-1287).
type Resize struct {
	// Pending says why the node has not accepted what the pod asks for; nil when it has.
	Pending *Pending
	// Generation is that of the pod whose size is being given to it; 0 when it has it.
	Generation int64
	// Outdated tells that the pod's own cgroup, or what is written down, is not yet as was accepted last.
	Outdated bool
	// Before are the pod's own resources as long as they are Outdated; nil when they were not changed.
	Before *corev1.ResourceRequirements
	// Failure is that of the last attempt.
	Failure *Failure
	// Restarts are the containers that were ended to be given another size, by name.
	Restarts map[string]string
}

// Pending is a resize that the node has not accepted.
type Pending struct {
	// Reason is Deferred or Infeasible.
	Reason, Message string
	Generation      int64
}

// Update is a running container that is given another size.
type Update struct {
	ID       string
	Name     string
	From, To Size
}

// Updates are the running containers that are to be given another size without being restarted.
func Updates(p *corev1.Pod, o *Observed) []Update {
	var out []Update
	eachSized(p, func(c *corev1.Container) {
		have := o.InSandbox(c.Name, o.Current())
		if have == nil || have.State != Running || o.Busy[ContainerSubject(c.Name)] {
			return
		}
		want := SizeOf(p, c)
		if have.Size != want && !replaces(c, have.Size, want) {
			out = append(out, Update{have.ID, c.Name, have.Size, want})
		}
	})
	return out
}

// Resizing tells whether something that runs has not yet the size that the node has accepted.
func Resizing(p *corev1.Pod, o *Observed) bool {
	found := o.Resize.Outdated
	eachSized(p, func(c *corev1.Container) {
		have := o.InSandbox(c.Name, o.Current())
		found = found || have != nil && have.State == Running && have.Size != SizeOf(p, c)
		found = found || have != nil && o.Resize.Restarts[c.Name] == have.ID
	})
	return found
}

func eachSized(p *corev1.Pod, f func(*corev1.Container)) {
	for _, list := range [][]corev1.Container{p.Spec.InitContainers, p.Spec.Containers} {
		for i := range list {
			f(&list[i])
		}
	}
}

// replaces tells whether the container wants to be restarted to get another size.
func replaces(c *corev1.Container, from, to Size) bool {
	cpu, memory := from.differs(to)
	for _, r := range c.ResizePolicy {
		if r.RestartPolicy == corev1.RestartContainer && (r.ResourceName == corev1.ResourceCPU && cpu || r.ResourceName == corev1.ResourceMemory && memory) {
			return true
		}
	}
	return false
}

// resize gives what runs the size that the node has accepted. It tells whether containers may be started meanwhile.
func (pl *Plan) resize(p *corev1.Pod, o *Observed, now time.Time) bool {
	if o.Busy[SubjectResize] {
		return false
	}
	if !o.Resize.Outdated && len(Updates(p, o)) == 0 {
		return true
	}
	if restarting(p, o) || o.Busy[SubjectSandbox] {
		return false // What is going has to be gone before the pod gets less.
	}
	if f := o.Resize.Failure; f != nil && f.RetryAt.After(now) {
		pl.wakeAt(f.RetryAt)
		return true
	}
	pl.add(o, Action{Verb: ResizePod})
	return false
}

// restarting tells whether a container runs that is to be restarted with another size.
func restarting(p *corev1.Pod, o *Observed) bool {
	found := false
	eachSized(p, func(c *corev1.Container) {
		have := o.InSandbox(c.Name, o.Current())
		found = found || have != nil && have.State == Running && replaces(c, have.Size, SizeOf(p, c))
	})
	return found
}

// again tells whether an ended container is to run again.
func (o *Observed) again(p *corev1.Pod, c *corev1.Container, have *Container, init bool) bool {
	return o.Resize.Restarts[c.Name] == have.ID || restarts(p, c, have.ExitCode, init)
}

// resizeConditions shows how far a resize is.
func resizeConditions(s *corev1.PodStatus, p *corev1.Pod, o *Observed, now time.Time) {
	r := &o.Resize
	var pending, inProgress *corev1.PodCondition
	if r.Pending != nil {
		pending = &corev1.PodCondition{Reason: r.Pending.Reason, Message: r.Pending.Message, ObservedGeneration: r.Pending.Generation}
	}
	if Resizing(p, o) {
		inProgress = &corev1.PodCondition{ObservedGeneration: r.Generation}
		if r.Generation == 0 {
			inProgress.ObservedGeneration = p.Generation
		}
		if r.Failure != nil {
			inProgress.Reason, inProgress.Message = corev1.PodReasonError, r.Failure.Message
		}
	}
	over := terminal(s.Phase) || p.DeletionTimestamp != nil && !busy(p, o)
	for _, c := range []struct {
		kind corev1.PodConditionType
		want *corev1.PodCondition
	}{{corev1.PodResizePending, pending}, {corev1.PodResizeInProgress, inProgress}} {
		if c.want == nil || over {
			dropCondition(s, c.kind)
			continue
		}
		have := findCondition(s, c.kind)
		c.want.Type, c.want.Status, c.want.LastTransitionTime = c.kind, corev1.ConditionTrue, metav1.NewTime(now)
		if have == nil {
			s.Conditions = append(s.Conditions, *c.want)
			continue
		}
		if have.Reason == c.want.Reason {
			c.want.LastTransitionTime = have.LastTransitionTime
		}
		*have = *c.want
	}
}

func dropCondition(s *corev1.PodStatus, t corev1.PodConditionType) {
	for i := range s.Conditions {
		if s.Conditions[i].Type == t {
			s.Conditions = append(s.Conditions[:i:i], s.Conditions[i+1:]...)
			return
		}
	}
}

// Fit decides whether a node can give a pod what it asks for, nil if so. Others are the pods that the node has already accepted,
// with what they were granted.
func Fit(p *corev1.Pod, others []*corev1.Pod, node *corev1.Node) *Pending {
	if node == nil {
		return nil
	}
	if reason, message := refusal(p, nil, node); reason != "" {
		return &Pending{corev1.PodReasonInfeasible, message, p.Generation}
	}
	if reason, message := refusal(p, others, node); reason != "" {
		return &Pending{corev1.PodReasonDeferred, message, p.Generation}
	}
	return nil
}

// Urgency is the order in which resizes that wait are looked at: first those that take no more, and then by priority, QoS class and
// how long they have waited.
func Urgency(a, b Waiting) int {
	switch {
	case a.grows() != b.grows():
		return order(b.grows())
	case priority(a.Wish) != priority(b.Wish):
		return order(priority(a.Wish) > priority(b.Wish))
	case a.guaranteed() != b.guaranteed():
		return order(a.guaranteed())
	}
	return a.since().Compare(b.since())
}

func order(first bool) int {
	if first {
		return -1
	}
	return 1
}

// Waiting is a pod that asks for something else than it was granted.
type Waiting struct {
	Wish, Granted *corev1.Pod
}

func (w Waiting) grows() bool {
	old, now := requests(w.Granted), requests(w.Wish)
	return now.Cpu().Cmp(*old.Cpu()) > 0 || now.Memory().Cmp(*old.Memory()) > 0
}

func (w Waiting) guaranteed() bool { return w.Wish.Status.QOSClass == corev1.PodQOSGuaranteed }

// since is when the API learnt that the resize waits; one that it does not know of yet comes last.
func (w Waiting) since() time.Time {
	if c := findCondition(&w.Wish.Status, corev1.PodResizePending); c != nil {
		return c.LastTransitionTime.Time
	}
	return time.Unix(1<<40, 0)
}

func priority(p *corev1.Pod) int32 {
	if p.Spec.Priority != nil {
		return *p.Spec.Priority
	}
	return 0
}

// restartMessage is what the Killing event says of a container that is restarted to get another size.
func restartMessage(c *corev1.Container) string {
	return fmt.Sprintf("Container %s resize requires restart", c.Name)
}

// Ordered are the updates that change one resource, those that take some of it away before those that give more.
func Ordered(list []Update, name corev1.ResourceName) []Update {
	var less, more []Update
	for _, u := range list {
		from, to := u.From.of(name), u.To.of(name)
		switch {
		case from == to:
		case to[0] < from[0] || to[0] == from[0] && to[1] < from[1]:
			less = append(less, u)
		default:
			more = append(more, u)
		}
	}
	return append(less, more...)
}

// of are the limit and the request of one resource. No limit is more than every limit.
func (s Size) of(name corev1.ResourceName) [2]int64 {
	out := [2]int64{s.MemoryLimit, s.MemoryRequest}
	if name == corev1.ResourceCPU {
		out = [2]int64{s.CPULimit, s.CPURequest}
	}
	if out[0] == 0 {
		out[0] = math.MaxInt64
	}
	return out
}
