package pod

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var here = Node{IPs: []string{"192.0.2.1"}, RuntimePrefix: "containerd"}

// digest is what a table can compare of a status.
type digest struct {
	Phase      corev1.PodPhase
	Reason     string
	Container  string
	Last       string
	Restarts   int32
	Ready      bool
	Conditions string
}

func digestOf(s corev1.PodStatus) digest {
	c := s.ContainerStatuses[0]
	d := digest{Phase: s.Phase, Reason: s.Reason, Container: stateText(c.State), Last: stateText(c.LastTerminationState), Restarts: c.RestartCount, Ready: c.Ready}
	for _, t := range []corev1.PodConditionType{corev1.PodScheduled, corev1.PodReadyToStartContainers, corev1.PodInitialized, corev1.ContainersReady, corev1.PodReady} {
		mark := "?"
		if cond := findCondition(&s, t); cond != nil {
			mark = string(cond.Status[0])
		}
		d.Conditions += mark
	}
	return d
}

func stateText(s corev1.ContainerState) string {
	switch {
	case s.Running != nil:
		return "running"
	case s.Terminated != nil:
		return "ended " + s.Terminated.Reason
	case s.Waiting != nil:
		return "waiting " + s.Waiting.Reason
	}
	return ""
}

func TestStatus(t *testing.T) {
	readiness := func(p *corev1.Pod) { p.Spec.Containers[0].ReadinessProbe = &corev1.Probe{} }
	gate := func(p *corev1.Pod) { p.Spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: "lb"}} }
	for _, tc := range []struct {
		name string
		pod  *corev1.Pod
		obs  []observed
		want digest
	}{
		{"nothing yet", newPod(), nil, digest{Phase: "Pending", Container: "waiting ContainerCreating", Conditions: "TFTFF"}},
		{
			"initialising", newPod(withInit(corev1.Container{Name: "i1", Image: "i"})),
			[]observed{up},
			digest{Phase: "Pending", Container: "waiting PodInitializing", Conditions: "TTFFF"},
		},
		{"running", newPod(), []observed{up, container("app", 0, Running, 0)}, digest{Phase: "Running", Container: "running", Ready: true, Conditions: "TTTTT"}},
		{
			"running and not yet probed", newPod(readiness),
			[]observed{up, container("app", 0, Running, 0)},
			digest{Phase: "Running", Container: "running", Conditions: "TTTFF"},
		},
		{
			"a readiness gate that nobody has opened", newPod(gate),
			[]observed{up, container("app", 0, Running, 0)},
			digest{Phase: "Running", Container: "running", Ready: true, Conditions: "TTTTF"},
		},
		{
			"crashing", newPod(),
			[]observed{up, container("app", 3, Exited, 1)},
			digest{Phase: "Running", Container: "waiting CrashLoopBackOff", Last: "ended Error", Restarts: 3, Conditions: "TTTFF"},
		},
		{
			"restarted", newPod(),
			[]observed{up, container("app", 0, Exited, 137, func(c *Container) { c.Reason = "OOMKilled" }), container("app", 1, Running, 0)},
			digest{Phase: "Running", Container: "running", Last: "ended OOMKilled", Restarts: 1, Ready: true, Conditions: "TTTTT"},
		},
		{
			"succeeded", newPod(policy(corev1.RestartPolicyNever)),
			[]observed{sandboxDown(true), container("app", 0, Exited, 0)},
			digest{Phase: "Succeeded", Container: "ended Completed", Conditions: "TFTFF"},
		},
		{
			"failed", newPod(policy(corev1.RestartPolicyNever)),
			[]observed{sandboxDown(true), container("app", 0, Exited, 2)},
			digest{Phase: "Failed", Container: "ended Error", Conditions: "TFTFF"},
		},
		{
			"a failed init container", newPod(policy(corev1.RestartPolicyNever), withInit(corev1.Container{Name: "i1", Image: "i"})),
			[]observed{up, container("i1", 0, Exited, 1)},
			digest{Phase: "Failed", Container: "waiting PodInitializing", Conditions: "TTFFF"},
		},
		{
			"deleted and still running", newPod(deleted(time.Minute)),
			[]observed{up, container("app", 0, Running, 0)},
			digest{Phase: "Running", Container: "running", Ready: true, Conditions: "TTTTT"},
		},
		{
			"deleted and ended", newPod(deleted(time.Minute)),
			[]observed{up, container("app", 0, Exited, 0)},
			digest{Phase: "Succeeded", Container: "ended Completed", Conditions: "TTTFF"},
		},
		{
			"refused", newPod(),
			[]observed{func(o *Observed) { o.Verdict = &Verdict{Reason: "OutOfcpu"} }},
			digest{Phase: "Failed", Reason: "OutOfcpu", Container: "waiting ContainerCreating", Conditions: "TFTFF"},
		},
		{"a pull that has just failed", newPod(), []observed{up, pullFailed(0)}, digest{Phase: "Pending", Container: "waiting ErrImagePull", Conditions: "TTTFF"}},
		{"a pull that waits", newPod(), []observed{up, pullFailed(3 * time.Second)}, digest{Phase: "Pending", Container: "waiting ImagePullBackOff", Conditions: "TTTFF"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := NewObserved(now)
			for _, f := range tc.obs {
				f(o)
			}
			if diff := cmp.Diff(tc.want, digestOf(Status(tc.pod, o, here, now))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func pullFailed(ago time.Duration) observed {
	return func(o *Observed) {
		o.Images["app"] = Image{Failure: &Failure{Reason: ErrImagePull, At: now.Add(-ago), RetryAt: now.Add(time.Minute)}}
	}
}

func TestWhatIsWaitedFor(t *testing.T) {
	p := newPod(func(p *corev1.Pod) { p.Spec.InitContainers = []corev1.Container{{Name: "one"}, {Name: "two"}} })
	o := NewObserved(now)
	up(o)
	s := Status(p, o, here, now)
	for _, c := range append(s.InitContainerStatuses, s.ContainerStatuses...) {
		if got := stateText(c.State); got != "waiting PodInitializing" {
			t.Errorf("%s is %s", c.Name, got)
		}
	}
}

func TestStatusIsStable(t *testing.T) {
	p, o := newPod(), NewObserved(now)
	up(o)
	container("app", 0, Running, 0)(o)
	p.Status = Status(p, o, here, now)
	again := Status(p, o, here, now.Add(time.Hour))
	if !Same(&p.Status, &again) {
		t.Error(cmp.Diff(p.Status, again))
	}
	p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{Type: "lb", Status: corev1.ConditionTrue})
	if s := Status(p, o, here, now); findCondition(&s, "lb") == nil {
		t.Error("the condition of somebody else is lost")
	}
}

func TestAdmit(t *testing.T) {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"disk": "ssd"}}, Status: corev1.NodeStatus{Allocatable: corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("2"), corev1.ResourcePods: resource.MustParse("2"),
	}}}
	cpu := func(q string) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			p.Spec.Containers[0].Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(q)}
		}
	}
	port := func(p *corev1.Pod) { p.Spec.Containers[0].Ports = []corev1.ContainerPort{{HostPort: 80}} }
	for _, tc := range []struct {
		name   string
		pod    *corev1.Pod
		others []*corev1.Pod
		want   string
	}{
		{"fits", newPod(cpu("1")), []*corev1.Pod{newPod(cpu("1"))}, ""},
		{"too much CPU", newPod(cpu("1500m")), []*corev1.Pod{newPod(cpu("1"))}, "OutOfcpu"},
		{"too many pods", newPod(), []*corev1.Pod{newPod(), newPod()}, "OutOfpods"},
		{"a port that is taken", newPod(port), []*corev1.Pod{newPod(port)}, "NodePorts"},
		{"another node's label", newPod(func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{"disk": "hdd"} }), nil, "NodeAffinity"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := ""
			if v := Admit(tc.pod, tc.others, node); v != nil {
				got = v.Reason
			}
			if got != tc.want {
				t.Errorf("%q, want %q", got, tc.want)
			}
		})
	}
}
