package pod

import (
	"fmt"
	"sort"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var now = time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)

func newPod(change ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p", UID: "u"},
		Spec:       corev1.PodSpec{RestartPolicy: corev1.RestartPolicyAlways, Containers: []corev1.Container{{Name: "app", Image: "i"}}},
	}
	for _, f := range change {
		f(p)
	}
	return p
}

func policy(rp corev1.RestartPolicy) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Spec.RestartPolicy = rp }
}

func deleted(after time.Duration) func(*corev1.Pod) {
	return func(p *corev1.Pod) { t := metav1.NewTime(now.Add(after)); p.DeletionTimestamp = &t }
}

func withInit(cs ...corev1.Container) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Spec.InitContainers = cs }
}

func sidecar(name string) corev1.Container {
	always := corev1.ContainerRestartPolicyAlways
	return corev1.Container{Name: name, Image: "i", RestartPolicy: &always}
}

// observed builds an observation step by step.
type observed func(*Observed)

func up(o *Observed) {
	o.VolumesReady = true
	o.PutSandbox(Sandbox{ID: "s0", Ready: true, IPs: []string{"10.0.0.1"}})
}

func image(names ...string) observed {
	return func(o *Observed) {
		for _, n := range names {
			o.Images[n] = Image{Ref: "ref"}
		}
	}
}

func container(name string, attempt uint32, st State, code int32, change ...func(*Container)) observed {
	return func(o *Observed) {
		c := Container{
			ID: fmt.Sprintf("%s-%d", name, attempt), SandboxID: "s0", Name: name, Attempt: attempt, Step: int(attempt), State: st,
			ExitCode: code, Hooked: true, Hash: Hash(&corev1.Container{Name: name, Image: "i"}), StartedAt: now.Add(-time.Minute),
		}
		if st == Exited {
			c.FinishedAt = now.Add(-time.Second)
		}
		for _, f := range change {
			f(&c)
		}
		o.Put(c)
	}
}

func inFlight(s ...Subject) observed {
	return func(o *Observed) {
		for _, x := range s {
			o.Busy[x] = true
		}
	}
}

func sandboxDown(stopped bool) observed {
	return func(o *Observed) {
		o.VolumesReady = true
		o.PutSandbox(Sandbox{ID: "s0", Stopped: stopped})
	}
}

func gone(o *Observed)     { o.Gone = true }
func released(o *Observed) { o.VolumesReleased, o.Cleared = true, true }

func TestMake(t *testing.T) {
	failedImage := func(o *Observed) {
		o.Images["app"] = Image{Failure: &Failure{Reason: ErrImagePull, At: now.Add(-3 * time.Second), RetryAt: now.Add(7 * time.Second)}}
	}
	for _, tc := range []struct {
		name string
		pod  *corev1.Pod
		obs  []observed
		want []string
		wake time.Duration
		done bool
	}{
		{
			name: "a new pod gets volumes, sandbox and image at once", pod: newPod(),
			want: []string{"CheckImage app", "PrepareVolumes", "RunSandbox #0"},
		},
		{name: "nothing is asked for twice", pod: newPod(), obs: []observed{inFlight(SubjectSandbox, SubjectVolumes, ImageSubject("app"))}},
		{
			name: "a container waits for its volumes", pod: newPod(), obs: []observed{up, image("app"), func(o *Observed) { o.VolumesReady = false }},
			want: []string{"PrepareVolumes"},
		},
		{name: "a container starts when all is there", pod: newPod(), obs: []observed{up, image("app")}, want: []string{"StartContainer app #0"}},
		{name: "a running container is left alone", pod: newPod(), obs: []observed{up, container("app", 0, Running, 0)}},
		{
			name: "the first crash is restarted at once", pod: newPod(), obs: []observed{up, image("app"), container("app", 0, Exited, 1)},
			want: []string{"StartContainer app #1"},
		},
		{name: "the second one after ten seconds", pod: newPod(), obs: []observed{up, image("app"), container("app", 1, Exited, 1)}, wake: 9 * time.Second},
		{
			name: "back-off starts over after ten minutes of running", pod: newPod(),
			obs:  []observed{up, image("app"), container("app", 5, Exited, 1, func(c *Container) { c.StartedAt = now.Add(-time.Hour) })},
			want: []string{"StartContainer app #6"},
		},
		{
			name: "a new image replaces the container", pod: newPod(), obs: []observed{up, container("app", 0, Running, 0, func(c *Container) { c.Hash = "old" })},
			want: []string{"KillContainer app-0 30s"},
		},
		{name: "a failed pull is tried again later", pod: newPod(), obs: []observed{up, failedImage}, wake: 7 * time.Second},
		{
			name: "a failed liveness probe kills", pod: newPod(),
			obs:  []observed{up, container("app", 0, Running, 0), func(o *Observed) { o.Probes["app"] = Probe{ContainerID: "app-0", Unhealthy: "liveness"} }},
			want: []string{"KillContainer app-0 30s"},
		},
		{
			name: "a verdict on an earlier incarnation does not", pod: newPod(),
			obs: []observed{up, container("app", 1, Running, 0), func(o *Observed) { o.Probes["app"] = Probe{ContainerID: "app-0", Unhealthy: "liveness"} }},
		},
		{
			name: "init containers come first", pod: newPod(withInit(corev1.Container{Name: "i1", Image: "i"})), obs: []observed{up, image("i1", "app")},
			want: []string{"StartContainer i1 #0"},
		},
		{
			name: "main containers follow when they are done", pod: newPod(withInit(corev1.Container{Name: "i1", Image: "i"})),
			obs: []observed{up, image("app"), container("i1", 0, Exited, 0)}, want: []string{"StartContainer app #0"},
		},
		{
			name: "a sidecar must be up before what follows", pod: newPod(withInit(sidecar("s"))),
			obs: []observed{up, image("app"), container("s", 0, Running, 0, func(c *Container) { c.Hooked = false })},
		},
		{
			name: "a dead sidecar comes back while the pod runs", pod: newPod(withInit(sidecar("s"))),
			obs: []observed{up, image("s"), container("s", 0, Exited, 1), container("app", 0, Running, 0)}, want: []string{"StartContainer s #1"},
		},
		{name: "a dead sandbox is first stopped", pod: newPod(), obs: []observed{sandboxDown(false), image("app")}, want: []string{"StopSandbox s0"}},
		{name: "and then replaced", pod: newPod(), obs: []observed{sandboxDown(true), image("app")}, want: []string{"RunSandbox #1"}},
		{
			name: "the old one goes when the new one is there", pod: newPod(),
			obs:  []observed{sandboxDown(true), func(o *Observed) { o.PutSandbox(Sandbox{ID: "s1", Attempt: 1, Ready: true, IPs: []string{"10.0.0.2"}}) }, image("app")},
			want: []string{"RemoveSandbox s0", "StartContainer app #0"},
		},
		{
			name: "its container goes before", pod: newPod(), obs: []observed{sandboxDown(false), container("app", 0, Running, 0)},
			want: []string{"KillContainer app-0 30s"},
		},
		{
			name: "only one dead incarnation is kept", pod: newPod(),
			obs:  []observed{up, container("app", 0, Exited, 1), container("app", 1, Exited, 1), container("app", 2, Running, 0)},
			want: []string{"RemoveContainer app-0"},
		},
		{
			name: "a pod that has succeeded is settled", pod: newPod(policy(corev1.RestartPolicyNever)), obs: []observed{up, container("app", 0, Exited, 0)},
			want: []string{"StopSandbox s0"},
		},
		{
			name: "sidecars end with the main containers", pod: newPod(policy(corev1.RestartPolicyNever), withInit(sidecar("s"))),
			obs: []observed{up, container("s", 0, Running, 0), container("app", 0, Exited, 0)}, want: []string{"KillContainer s-0 30s"},
		},
		{
			name: "a pod past its deadline is killed", pod: newPod(func(p *corev1.Pod) { d := int64(5); p.Spec.ActiveDeadlineSeconds = &d }),
			obs: []observed{up, container("app", 0, Running, 0), func(o *Observed) { o.StartTime = now.Add(-6 * time.Second) }}, want: []string{"KillContainer app-0 30s"},
		},
		{
			name: "a deadline wakes", pod: newPod(func(p *corev1.Pod) { d := int64(5); p.Spec.ActiveDeadlineSeconds = &d }),
			obs: []observed{up, container("app", 0, Running, 0), func(o *Observed) { o.StartTime = now.Add(-time.Second) }}, wake: 4 * time.Second,
		},
		{
			name: "deletion kills with what is left of the grace", pod: newPod(deleted(12 * time.Second)), obs: []observed{up, container("app", 0, Running, 0)},
			want: []string{"KillContainer app-0 13s"},
		},
		{
			name: "main containers go before sidecars", pod: newPod(deleted(30*time.Second), withInit(sidecar("s"))),
			obs: []observed{up, container("s", 0, Running, 0), container("app", 0, Running, 0)}, want: []string{"KillContainer app-0 30s"},
		},
		{
			name: "a shorter grace shortens a kill in flight", pod: newPod(deleted(2 * time.Second)),
			obs:  []observed{up, container("app", 0, Running, 0), inFlight(ContainerSubject("app")), func(o *Observed) { o.Killing["app"] = now.Add(30 * time.Second) }},
			want: []string{"KillContainer app-0 3s"},
		},
		{name: "deletion waits for a start in flight", pod: newPod(deleted(30 * time.Second)), obs: []observed{up, inFlight(ContainerSubject("app"))}},
		{name: "then the sandbox goes", pod: newPod(deleted(30 * time.Second)), obs: []observed{up, container("app", 0, Exited, 0)}, want: []string{"StopSandbox s0"}},
		{
			name: "then the API is told", pod: newPod(deleted(30 * time.Second)), obs: []observed{sandboxDown(true), container("app", 0, Exited, 0)},
			want: []string{"DeletePod"},
		},
		{
			name: "finalizers wait for the last status", pod: newPod(deleted(30*time.Second), func(p *corev1.Pod) { p.Finalizers = []string{"x"} }),
			obs: []observed{sandboxDown(true), container("app", 0, Exited, 0)},
		},
		{name: "a pod that is gone is cleared", pod: newPod(), obs: []observed{gone, sandboxDown(true), container("app", 0, Exited, 0)}, want: []string{"RemoveSandbox s0"}},
		{
			name: "what a pod that ended by itself has kept goes last, too", pod: newPod(),
			obs: []observed{gone, func(o *Observed) { o.VolumesReleased = true }}, want: []string{"ReleaseVolumes"},
		},
		{name: "volumes go last", pod: newPod(), obs: []observed{gone}, want: []string{"ReleaseVolumes"}},
		{name: "and then it is over", pod: newPod(), obs: []observed{gone, released}, done: true},
		{name: "a deleted pod that never ran is told at once", pod: newPod(deleted(30 * time.Second)), want: []string{"DeletePod"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := NewObserved(now)
			for _, f := range tc.obs {
				f(o)
			}
			plan := Make(tc.pod, o, now)
			if diff := cmp.Diff(tc.want, names(plan.Actions)); diff != "" {
				t.Errorf("actions (-want +got):\n%s", diff)
			}
			wake := time.Duration(0)
			if !plan.Wake.IsZero() {
				wake = plan.Wake.Sub(now)
			}
			if wake != tc.wake || plan.Done != tc.done {
				t.Errorf("wake after %v, done %v; want %v, %v", wake, plan.Done, tc.wake, tc.done)
			}
		})
	}
}

func names(actions []Action) []string {
	var out []string
	for _, a := range actions {
		s := string(a.Verb)
		switch a.Verb {
		case CheckImage:
			s += " " + a.Container
		case StartContainer:
			s += fmt.Sprintf(" %s #%d", a.Container, a.Attempt)
		case KillContainer:
			s += fmt.Sprintf(" %s %ds", a.ID, a.Grace)
		case RunSandbox:
			s += fmt.Sprintf(" #%d", a.Attempt)
		case StopSandbox, RemoveSandbox, RemoveContainer:
			s += " " + a.ID
		}
		out = append(out, s)
	}
	sort.Strings(out)
	return out
}

func TestDelay(t *testing.T) {
	for step, want := range []time.Duration{0, 10 * time.Second, 20 * time.Second, 40 * time.Second, 80 * time.Second, 160 * time.Second, 5 * time.Minute, 5 * time.Minute} {
		if got := Delay(step); got != want {
			t.Errorf("step %d: %v, want %v", step, got, want)
		}
	}
}
