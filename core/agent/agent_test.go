package agent

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	fakeruntime "github.com/gantryio/gantry/plugins/runtime/fake"
)

func TestPodRunsAndIsDeleted(t *testing.T) {
	b := newBench(t, fakeruntime.Options{})
	b.start(nil)
	b.create(testPod("web"))
	p := b.until("web", "ready", ready)
	if p.Status.Phase != corev1.PodRunning || p.Status.PodIP == "" || p.Status.HostIP != "192.0.2.1" {
		t.Errorf("phase %s, pod IP %q, host IP %q", p.Status.Phase, p.Status.PodIP, p.Status.HostIP)
	}
	if id := p.Status.ContainerStatuses[0].ContainerID; !strings.HasPrefix(id, "fake://") {
		t.Errorf("container ID %q does not name its runtime", id)
	}
	if err := b.api.Delete(context.Background(), p); err != nil {
		t.Fatal(err)
	}
	b.until("web", "gone", gone)
	b.stopEmpty()
}

// stopEmpty waits until the runtime has nothing left.
func (b *bench) stopEmpty() {
	b.t.Helper()
	for _, w := range b.agent.snapshot() {
		<-w.done
	}
	if sbs, cs := b.rt.Dump(); len(sbs)+len(cs) != 0 {
		b.t.Errorf("left in the runtime: %d sandboxes, %d containers", len(sbs), len(cs))
	}
}

func TestCrashRestartsAtOnceAndThenBacksOff(t *testing.T) {
	b := newBench(t, fakeruntime.Options{})
	b.start(nil)
	b.create(testPod("web"))
	b.until("web", "running", running(0))
	b.rt.Exit(b.containerID("web", "app"), 3)
	p := b.until("web", "restarted", running(1))
	last := p.Status.ContainerStatuses[0].LastTerminationState.Terminated
	if last == nil || last.ExitCode != 3 || last.Reason != "Error" {
		t.Errorf("last state %+v", last)
	}
	b.rt.Exit(b.containerID("web", "app"), 3)
	b.until("web", "backing off", func(p *corev1.Pod) bool {
		w := p.Status.ContainerStatuses[0].State.Waiting
		return w != nil && w.Reason == "CrashLoopBackOff" && strings.HasPrefix(w.Message, "back-off 10s restarting failed container=app")
	})
}

func TestRestartOfTheAgentKeepsPods(t *testing.T) {
	b := newBench(t, fakeruntime.Options{})
	b.start(nil)
	b.create(testPod("web"))
	b.until("web", "running", running(0))
	b.rt.Exit(b.containerID("web", "app"), 1)
	before := b.until("web", "restarted", running(1))
	b.stop()
	b.rt.Exit(b.containerID("web", "app"), 7)
	b.start(nil)
	after := b.until("web", "seen to have ended", func(p *corev1.Pod) bool {
		return p.Status.ContainerStatuses[0].State.Running == nil
	})
	if n := after.Status.ContainerStatuses[0].RestartCount; n != 1 {
		t.Errorf("restart count %d, want 1 while the back-off lasts", n)
	}
	last := after.Status.ContainerStatuses[0].LastTerminationState.Terminated
	if last == nil || last.ExitCode != 7 || last.ContainerID != before.Status.ContainerStatuses[0].ContainerID {
		t.Errorf("last state %+v", last)
	}
}

func TestAgentRestartLeavesARunningContainerAlone(t *testing.T) {
	b := newBench(t, fakeruntime.Options{})
	b.start(nil)
	b.create(testPod("web"))
	before := b.until("web", "ready", ready)
	b.stop()
	b.start(nil)
	b.create(testPod("other"))
	b.until("other", "ready", ready)
	after := b.until("web", "ready", ready)
	if x, y := before.Status.ContainerStatuses[0].ContainerID, after.Status.ContainerStatuses[0].ContainerID; x != y {
		t.Errorf("container %s became %s", x, y)
	}
	if before.ResourceVersion != after.ResourceVersion {
		t.Errorf("the restart wrote a status although nothing changed")
	}
}

func TestOrphanIsEnded(t *testing.T) {
	removes := make(chan struct{}, 100)
	b := newBench(t, fakeruntime.Options{Delay: func(_ context.Context, method string) error {
		if method == "RemovePodSandbox" {
			removes <- struct{}{}
		}
		return nil
	}})
	b.start(nil)
	p := testPod("web")
	b.create(p)
	b.until("web", "ready", ready)
	b.stop()
	live := b.until("web", "there", func(p *corev1.Pod) bool { return p != nil })
	live.Finalizers = nil
	if err := b.api.Update(context.Background(), live); err != nil {
		t.Fatal(err)
	}
	if err := b.api.Delete(context.Background(), live); err != nil {
		t.Fatal(err)
	}
	b.start(nil)
	select {
	case <-removes: // the runtime is listed by and by, also after the agent is ready
	case <-time.After(deadline):
		t.Fatal("the agent did not remove the sandbox")
	}
	b.stopEmpty()
}

func TestInitContainersAndSidecarsComeInOrder(t *testing.T) {
	var order []string
	started := make(chan string, 10)
	always := corev1.ContainerRestartPolicyAlways
	b := newBench(t, fakeruntime.Options{Started: func(r *fakeruntime.Runtime, id string, c *runtimeapi.ContainerConfig) {
		started <- c.Metadata.Name
		if strings.HasPrefix(c.Metadata.Name, "init") {
			r.Exit(id, 0)
		}
	}})
	b.start(nil)
	b.create(testPod("web", func(p *corev1.Pod) {
		p.Spec.InitContainers = []corev1.Container{
			{Name: "init-1", Image: testImage}, {Name: "sidecar", Image: testImage, RestartPolicy: &always}, {Name: "init-2", Image: testImage},
		}
	}))
	p := b.until("web", "ready", ready)
	for range 4 {
		order = append(order, <-started)
	}
	if got := strings.Join(order, " "); got != "init-1 sidecar init-2 app" {
		t.Errorf("started %s", got)
	}
	if !p.Status.InitContainerStatuses[0].Ready || p.Status.InitContainerStatuses[0].State.Terminated == nil {
		t.Errorf("init-1 is %+v", p.Status.InitContainerStatuses[0])
	}
}

func TestPullFailureShowsAndRecovers(t *testing.T) {
	b := newBench(t, fakeruntime.Options{Images: []string{}})
	b.start(nil)
	b.create(testPod("web", func(p *corev1.Pod) { p.Spec.Containers[0].ImagePullPolicy = corev1.PullNever }))
	b.until("web", "refused", func(p *corev1.Pod) bool {
		return len(p.Status.ContainerStatuses) > 0 && p.Status.ContainerStatuses[0].State.Waiting != nil &&
			p.Status.ContainerStatuses[0].State.Waiting.Reason == "ErrImageNeverPull"
	})
	b.create(testPod("bad", func(p *corev1.Pod) { p.Spec.Containers[0].Image = "Not A Name" }))
	b.until("bad", "refused", func(p *corev1.Pod) bool {
		return len(p.Status.ContainerStatuses) > 0 && p.Status.ContainerStatuses[0].State.Waiting != nil &&
			p.Status.ContainerStatuses[0].State.Waiting.Reason == "InvalidImageName"
	})
}

func TestEnvironmentWaitsForItsConfigMap(t *testing.T) {
	b := newBench(t, fakeruntime.Options{})
	b.start(nil)
	b.create(testPod("web", func(p *corev1.Pod) {
		p.Spec.Containers[0].EnvFrom = []corev1.EnvFromSource{{ConfigMapRef: &corev1.ConfigMapEnvSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: "settings"},
		}}}
	}))
	b.until("web", "configuration error", func(p *corev1.Pod) bool {
		w := (*corev1.ContainerStateWaiting)(nil)
		if len(p.Status.ContainerStatuses) > 0 {
			w = p.Status.ContainerStatuses[0].State.Waiting
		}
		return w != nil && w.Reason == "CreateContainerConfigError" && w.Message == `configmap "settings" not found`
	})
	b.create(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "settings"}, Data: map[string]string{"A": "1"}})
	b.until("web", "ready", ready)
	if got := b.rt.Config(b.containerID("web", "app")).Envs; len(got) != 1 || got[0].Key != "A" || string(got[0].Value) != "1" {
		t.Errorf("environment %v", got)
	}
}

func TestJobPodEnds(t *testing.T) {
	for _, tc := range []struct {
		name   string
		policy corev1.RestartPolicy
		code   int32
		want   corev1.PodPhase
	}{
		{"a success", corev1.RestartPolicyNever, 0, corev1.PodSucceeded},
		{"a failure that is not retried", corev1.RestartPolicyNever, 2, corev1.PodFailed},
		{"a success where failures are retried", corev1.RestartPolicyOnFailure, 0, corev1.PodSucceeded},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBench(t, fakeruntime.Options{Started: func(r *fakeruntime.Runtime, id string, _ *runtimeapi.ContainerConfig) {
				r.Exit(id, tc.code)
			}})
			b.start(nil)
			b.create(testPod("job", func(p *corev1.Pod) { p.Spec.RestartPolicy = tc.policy }))
			p := b.until("job", "over", func(p *corev1.Pod) bool { return p.Status.Phase == tc.want })
			if st := p.Status.ContainerStatuses[0].State.Terminated; st == nil || st.ExitCode != tc.code {
				t.Errorf("state %+v", p.Status.ContainerStatuses[0].State)
			}
		})
	}
}

func TestPodThatDoesNotFitIsRefused(t *testing.T) {
	b := newBench(t, fakeruntime.Options{})
	b.start(func(a *Agent) { a.Capacity = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1")} })
	b.create(testPod("big", func(p *corev1.Pod) {
		p.Spec.Containers[0].Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("2")}
	}))
	p := b.until("big", "refused", func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodFailed })
	if p.Status.Reason != "OutOfcpu" {
		t.Errorf("reason %q", p.Status.Reason)
	}
	if sbs, _ := b.rt.Dump(); len(sbs) != 0 {
		t.Errorf("a refused pod has a sandbox")
	}
}

func TestNodeIsRegistered(t *testing.T) {
	b := newBench(t, fakeruntime.Options{})
	b.start(func(a *Agent) { a.Labels = map[string]string{"disk": "ssd"} })
	var n corev1.Node
	if err := b.api.Get(context.Background(), client.ObjectKey{Name: testNode}, &n); err != nil {
		t.Fatal(err)
	}
	if n.Labels["disk"] != "ssd" || n.Labels[corev1.LabelHostname] != testNode {
		t.Errorf("labels %v", n.Labels)
	}
	if q := n.Status.Allocatable[corev1.ResourcePods]; q.Value() != 110 {
		t.Errorf("allocatable pods %s", q.String())
	}
}

func TestLostEventsAreMadeUpFor(t *testing.T) {
	b := newBench(t, fakeruntime.Options{})
	b.start(nil)
	b.create(testPod("web"))
	b.until("web", "running", running(0))
	b.rt.LoseEvents()
	b.rt.Exit(b.containerID("web", "app"), 1)
	b.until("web", "restarted", running(1))
}

// The runtime refuses at first, as containerd does while it is still removing what the agent asked for.
func TestTeardownLeavesNothing(t *testing.T) {
	refusals := 2
	b := newBench(t, fakeruntime.Options{Delay: func(_ context.Context, method string) error {
		if method == "RemovePodSandbox" && refusals > 0 {
			refusals--
			return status.Error(codes.Unknown, "container is already in removing state")
		}
		return nil
	}})
	b.start(nil)
	b.create(testPod("web"))
	b.until("web", "ready", ready)
	b.stop()
	if err := b.agent.Teardown(context.Background()); err != nil {
		t.Fatal(err)
	}
	if sbs, cs := b.rt.Dump(); len(sbs)+len(cs) != 0 {
		t.Errorf("left in the runtime: %d sandboxes, %d containers", len(sbs), len(cs))
	}
}

// TestTeardownOfManyPods ends many sandboxes a few at a time, so that none waits for the others until its time is up, and gives up
// when none ends.
func TestTeardownOfManyPods(t *testing.T) {
	var now atomic.Int32
	var release chan struct{}
	b := newBench(t, fakeruntime.Options{Delay: func(ctx context.Context, method string) error {
		if method != "StopPodSandbox" {
			return nil
		}
		now.Add(1)
		defer now.Add(-1)
		select {
		case <-release:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}})
	b.start(nil)
	pods := 3 * tearAtOnce
	for i := range pods {
		b.create(testPod(fmt.Sprint("web-", i)))
	}
	for i := range pods {
		b.until(fmt.Sprint("web-", i), "ready", ready)
	}
	b.stop()
	synctest.Test(t, func(t *testing.T) {
		release = make(chan struct{})
		began := time.Now()
		if err := b.agent.Teardown(t.Context()); err == nil || time.Since(began) != tearPatience {
			t.Errorf("a teardown that removes nothing gives up after %s with %v, want an error after %s", time.Since(began), err, tearPatience)
		}
		done := make(chan error)
		go func() { done <- b.agent.Teardown(t.Context()) }()
		for left := pods; left > 0; left-- {
			synctest.Wait()
			if n := now.Load(); int(n) != min(left, tearAtOnce) {
				t.Errorf("%d sandboxes are ended at once, want %d", n, min(left, tearAtOnce))
			}
			time.Sleep(tearPatience / 2)
			release <- struct{}{}
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	if sbs, _ := b.rt.Dump(); len(sbs) != 0 {
		t.Errorf("%d sandboxes are left", len(sbs))
	}
}
