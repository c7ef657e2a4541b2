package pod

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const mega = 1 << 20

// asks gives containers a request and a limit of cpu in thousandths and of memory in MiB each; 0 is none.
func asks(c *corev1.Container, cpu, memory int64) {
	list := corev1.ResourceList{}
	if cpu > 0 {
		list[corev1.ResourceCPU] = *resource.NewMilliQuantity(cpu, resource.DecimalSI)
	}
	if memory > 0 {
		list[corev1.ResourceMemory] = *resource.NewQuantity(memory*mega, resource.BinarySI)
	}
	c.Resources = corev1.ResourceRequirements{Requests: list, Limits: list.DeepCopy()}
}

func asking(cpu, memory int64, change ...func(*corev1.Pod)) *corev1.Pod {
	return newPod(append([]func(*corev1.Pod){func(p *corev1.Pod) { asks(&p.Spec.Containers[0], cpu, memory) }}, change...)...)
}

func restartsFor(names ...corev1.ResourceName) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		for _, n := range names {
			p.Spec.Containers[0].ResizePolicy = append(p.Spec.Containers[0].ResizePolicy, corev1.ContainerResizePolicy{ResourceName: n, RestartPolicy: corev1.RestartContainer})
		}
	}
}

func sized(cpu, memory int64) func(*Container) {
	return func(c *Container) { c.Size = Size{cpu, cpu, memory * mega, memory * mega} }
}

func outdated(o *Observed) { o.Resize.Outdated = true }

func TestResizePlan(t *testing.T) {
	failed := func(o *Observed) {
		o.Resize.Outdated, o.Resize.Failure = true, &Failure{Reason: corev1.PodReasonError, RetryAt: now.Add(4 * time.Second)}
	}
	restarted := func(o *Observed) { o.Resize.Restarts = map[string]string{"app": "app-0"} }
	for _, tc := range []struct {
		name string
		pod  *corev1.Pod
		obs  []observed
		want []string
		wake time.Duration
	}{
		{name: "what fits is left alone", pod: asking(100, 1), obs: []observed{up, container("app", 0, Running, 0, sized(100, 1))}},
		{name: "a container gets another size", pod: asking(200, 1), obs: []observed{up, container("app", 0, Running, 0, sized(100, 1))}, want: []string{"ResizePod"}},
		{name: "once at a time", pod: asking(200, 1), obs: []observed{up, container("app", 0, Running, 0, sized(100, 1)), inFlight(SubjectResize)}},
		{name: "also the pod's own cgroup", pod: asking(200, 1), obs: []observed{up, outdated, container("app", 0, Running, 0, sized(200, 1))}, want: []string{"ResizePod"}},
		{
			name: "a container waits for the pod's cgroup", pod: asking(200, 1), obs: []observed{up, outdated, image("app"), container("app", 0, Exited, 1)},
			want: []string{"ResizePod"},
		},
		{name: "and as long as it takes", pod: asking(200, 1), obs: []observed{up, outdated, image("app"), inFlight(SubjectResize), container("app", 0, Exited, 1)}},
		{name: "a failure is tried again later", pod: asking(200, 1), obs: []observed{up, failed, container("app", 0, Running, 0, sized(100, 1))}, wake: 4 * time.Second},
		{
			name: "and holds no container up", pod: asking(200, 1), obs: []observed{up, failed, image("app"), container("app", 0, Exited, 1)},
			want: []string{"StartContainer app #1"}, wake: 4 * time.Second,
		},
		{
			name: "a container that wants it is restarted", pod: asking(200, 1, restartsFor(corev1.ResourceCPU)),
			obs: []observed{up, outdated, container("app", 0, Running, 0, sized(100, 1))}, want: []string{"KillContainer app-0 30s"},
		},
		{
			name: "not for another resource", pod: asking(200, 1, restartsFor(corev1.ResourceMemory)),
			obs: []observed{up, container("app", 0, Running, 0, sized(100, 1))}, want: []string{"ResizePod"},
		},
		{
			name: "it starts whatever it ended with, and at once", pod: asking(200, 1, restartsFor(corev1.ResourceCPU), policy(corev1.RestartPolicyOnFailure)),
			obs: []observed{up, restarted, image("app"), container("app", 0, Exited, 0, sized(100, 1), func(c *Container) { c.Step = 5 })}, want: []string{"StartContainer app #1"},
		},
		{
			name: "one that has ended stays so", pod: asking(200, 1, restartsFor(corev1.ResourceCPU), policy(corev1.RestartPolicyOnFailure)),
			obs: []observed{up, container("app", 0, Exited, 0, sized(100, 1))}, want: []string{"StopSandbox s0"},
		},
		{
			name: "without a sandbox it is only written down", pod: asking(200, 1), obs: []observed{outdated, inFlight(SubjectVolumes, ImageSubject("app"))},
			want: []string{"ResizePod", "RunSandbox #0"},
		},
		{
			name: "a sandbox on its way comes first", pod: asking(200, 1), obs: []observed{outdated, inFlight(SubjectVolumes, SubjectSandbox, ImageSubject("app"))},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := NewObserved(now)
			for _, f := range tc.obs {
				f(o)
			}
			plan := Make(tc.pod, o, now)
			if diff := cmp.Diff(tc.want, names(plan.Actions)); diff != "" {
				t.Error(diff)
			}
			if wake := plan.Wake; !wake.IsZero() && wake.Sub(now) != tc.wake || wake.IsZero() && tc.wake != 0 {
				t.Errorf("wake at %v, want after %v", wake, tc.wake)
			}
		})
	}
}

func TestEphemeralContainersRunOnce(t *testing.T) {
	debug := func(p *corev1.Pod) {
		p.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "d", Image: "i"}}}
	}
	known := func(s corev1.ContainerStatus) func(*corev1.Pod) {
		return func(p *corev1.Pod) { p.Status.EphemeralContainerStatuses = []corev1.ContainerStatus{s} }
	}
	ended := corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 3, ContainerID: "x://d"}}
	main := container("app", 0, Running, 0)
	for _, tc := range []struct {
		name  string
		pod   *corev1.Pod
		obs   []observed
		want  []string
		state corev1.ContainerState
	}{
		{name: "a new one starts", pod: newPod(debug), obs: []observed{up, main, image("d")}, want: []string{"StartContainer d #0"}, state: created},
		{
			name: "one that runs is left alone", pod: newPod(debug), obs: []observed{up, main, container("d", 0, Running, 0)},
			state: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(now.Add(-time.Minute))}},
		},
		{
			name: "one that has ended, too", pod: newPod(debug), obs: []observed{up, main, image("d"), container("d", 0, Exited, 1)},
			state: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
				ExitCode: 1, Reason: "Error", ContainerID: "x://d-0", StartedAt: metav1.NewTime(now.Add(-time.Minute)), FinishedAt: metav1.NewTime(now.Add(-time.Second)),
			}},
		},
		{name: "also when the runtime has forgotten it", pod: newPod(debug, known(corev1.ContainerStatus{Name: "d", State: ended})), obs: []observed{up, main, image("d")}, state: ended},
		{
			name: "and nobody saw its end", pod: newPod(debug, known(corev1.ContainerStatus{Name: "d", ContainerID: "x://d"})), obs: []observed{up, main, image("d")},
			state: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
				ExitCode: 137, Reason: "ContainerStatusUnknown", ContainerID: "x://d", Message: "The container could not be located when the pod was terminated",
			}},
		},
		{
			name: "one that never ran is made anew", pod: newPod(debug), obs: []observed{up, main, container("d", 0, Created, 0)}, want: []string{"RemoveContainer d-0"}, state: created,
		},
		{
			name: "it comes while the pod is initialised", pod: newPod(debug, withInit(corev1.Container{Name: "init", Image: "i"})),
			obs: []observed{up, container("init", 0, Running, 0), image("d")}, want: []string{"StartContainer d #0"},
			state: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "PodInitializing"}},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := NewObserved(now)
			for _, f := range tc.obs {
				f(o)
			}
			if diff := cmp.Diff(tc.want, names(Make(tc.pod, o, now).Actions)); diff != "" {
				t.Error(diff)
			}
			s := Status(tc.pod, o, Node{RuntimePrefix: "x"}, now).EphemeralContainerStatuses
			if len(s) != 1 || s[0].Ready || s[0].Started != nil {
				t.Fatalf("status is %+v", s)
			}
			if diff := cmp.Diff(tc.state, s[0].State); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestOrdered(t *testing.T) {
	list := []Update{
		{Name: "more", From: Size{CPULimit: 100}, To: Size{CPULimit: 200}},
		{Name: "memory", From: Size{MemoryLimit: 1}, To: Size{MemoryLimit: 2}},
		{Name: "less", From: Size{CPULimit: 200}, To: Size{CPULimit: 100}},
		{Name: "limited", From: Size{}, To: Size{CPULimit: 100}},
		{Name: "asks for less", From: Size{CPURequest: 2}, To: Size{CPURequest: 1}},
	}
	var got []string
	for _, u := range Ordered(list, corev1.ResourceCPU) {
		got = append(got, u.Name)
	}
	if diff := cmp.Diff([]string{"less", "limited", "asks for less", "more"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestFit(t *testing.T) {
	node := &corev1.Node{Status: corev1.NodeStatus{Allocatable: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1"), corev1.ResourcePods: resource.MustParse("9")}}}
	for _, tc := range []struct {
		name   string
		want   int64
		others []*corev1.Pod
		reason string
		text   string
	}{
		{name: "alone", want: 1000},
		{name: "beside others", want: 600, others: []*corev1.Pod{asking(400, 0)}},
		{name: "too much now", want: 700, others: []*corev1.Pod{asking(400, 0)}, reason: "Deferred", text: "Node didn't have enough resource: cpu, requested: 700, used: 400, capacity: 1000"},
		{name: "too much at all", want: 1100, reason: "Infeasible", text: "Node didn't have enough resource: cpu, requested: 1100, used: 0, capacity: 1000"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := asking(tc.want, 0)
			p.Generation = 3
			var want *Pending
			if tc.reason != "" {
				want = &Pending{tc.reason, tc.text, 3}
			}
			if diff := cmp.Diff(want, Fit(p, tc.others, node)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestUrgency(t *testing.T) {
	waiting := func(name string, from, to int64, change ...func(*corev1.Pod)) Waiting {
		p := asking(to, 0, change...)
		p.Name = name
		return Waiting{Wish: p, Granted: asking(from, 0)}
	}
	since := func(ago time.Duration) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodResizePending, LastTransitionTime: metav1.NewTime(now.Add(-ago))}}
		}
	}
	list := []Waiting{
		waiting("new", 1, 2), waiting("waits", 1, 2, since(time.Minute)), waiting("waits longer", 1, 2, since(time.Hour)),
		waiting("guaranteed", 1, 2, func(p *corev1.Pod) { p.Status.QOSClass = corev1.PodQOSGuaranteed }),
		waiting("important", 1, 2, func(p *corev1.Pod) { p.Spec.Priority = new(int32(5)) }), waiting("less", 2, 1),
	}
	slices.SortStableFunc(list, Urgency)
	var got []string
	for _, w := range list {
		got = append(got, w.Wish.Name)
	}
	if diff := cmp.Diff([]string{"less", "important", "guaranteed", "waits longer", "waits", "new"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestResizeStatus(t *testing.T) {
	find := func(s *corev1.PodStatus, kind corev1.PodConditionType) string {
		c := findCondition(s, kind)
		if c == nil {
			return ""
		}
		return strings.TrimSpace(string(c.Status) + " " + c.Reason + " " + c.Message)
	}
	for _, tc := range []struct {
		name                string
		obs                 []observed
		cpu                 string
		pending, inProgress string
	}{
		{name: "done", obs: []observed{container("app", 0, Running, 0, sized(200, 1))}, cpu: "200m"},
		{name: "not yet", obs: []observed{container("app", 0, Running, 0, sized(100, 1))}, cpu: "100m", inProgress: "True"},
		{
			name: "what the runtime says", cpu: "150m", inProgress: "",
			obs: []observed{container("app", 0, Running, 0, sized(200, 1), func(c *Container) { c.Actual = &Size{CPURequest: 150, CPULimit: 150} })},
		},
		{
			name: "failed", obs: []observed{container("app", 0, Running, 0, sized(100, 1)), func(o *Observed) { o.Resize.Failure = &Failure{Message: "no"} }},
			cpu: "100m", inProgress: "True Error no",
		},
		{
			name: "refused", obs: []observed{container("app", 0, Running, 0, sized(200, 1)), func(o *Observed) { o.Resize.Pending = &Pending{"Deferred", "later", 4} }},
			cpu: "200m", pending: "True Deferred later",
		},
		{name: "nothing runs", obs: []observed{container("app", 0, Exited, 1, sized(100, 1))}, cpu: "200m"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := NewObserved(now)
			for _, f := range append([]observed{up}, tc.obs...) {
				f(o)
			}
			s := Status(asking(200, 1), o, Node{}, now)
			got := s.ContainerStatuses[0]
			if cpu := got.Resources.Requests.Cpu(); cpu.String() != tc.cpu {
				t.Errorf("requests %s of cpu, want %s", cpu, tc.cpu)
			}
			if cpu := got.Resources.Limits.Cpu(); cpu.String() != tc.cpu {
				t.Errorf("is limited to %s of cpu, want %s", cpu, tc.cpu)
			}
			if cpu := got.AllocatedResources.Cpu(); cpu.String() != "200m" {
				t.Errorf("%s of cpu is allocated", cpu)
			}
			if diff := cmp.Diff([]string{tc.pending, tc.inProgress}, []string{find(&s, corev1.PodResizePending), find(&s, corev1.PodResizeInProgress)}); diff != "" {
				t.Error(diff)
			}
			again := Status(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{}, Spec: asking(200, 1).Spec, Status: s}, o, Node{}, now.Add(time.Hour))
			if !Same(&s, &again) {
				t.Errorf("it says something else an hour later:\n%s", cmp.Diff(s, again))
			}
		})
	}
}

func TestGrant(t *testing.T) {
	p := asking(100, 1, func(p *corev1.Pod) {
		p.Spec.InitContainers = []corev1.Container{sidecar("s")}
		p.Spec.Resources = &corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1")}}
	})
	wish := p.DeepCopy()
	asks(&wish.Spec.Containers[0], 300, 1)
	asks(&wish.Spec.InitContainers[0], 300, 0)
	wish.Spec.Resources, wish.Labels = nil, map[string]string{"a": "b"}
	got := GrantOf(p).Apply(wish)
	if !SameSize(got, p) || got.Labels["a"] != "b" || SameSize(got, wish) || wish.Spec.Resources != nil {
		t.Errorf("got %+v", got.Spec)
	}
	if Granted(p, p.DeepCopy()) != p {
		t.Error("a pod that has what it asks for was copied")
	}
	if GrantOf(newPod()) != nil {
		t.Error("a pod that asks for nothing is granted something")
	}
	if diff := cmp.Diff(Size{100, 100, mega, mega}, SizeOf(p, &p.Spec.Containers[0])); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(Size{CPULimit: 1000}, SizeOf(p, &p.Spec.InitContainers[0])); diff != "" {
		t.Error(diff)
	}
}
