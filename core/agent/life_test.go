package agent

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	fakeruntime "github.com/gantryio/gantry/plugins/runtime/fake"
)

func execProbe(cmd ...string) corev1.ProbeHandler {
	return corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: cmd}}
}

func TestLivenessProbeRestarts(t *testing.T) {
	var sick atomic.Bool
	b := newBench(t, fakeruntime.Options{Exec: func(context.Context, *runtimeapi.ContainerConfig, []string) (*runtimeapi.ExecSyncResponse, error) {
		if sick.CompareAndSwap(true, false) {
			return &runtimeapi.ExecSyncResponse{ExitCode: 1, Stdout: []byte("ill")}, nil
		}
		return &runtimeapi.ExecSyncResponse{}, nil
	}})
	sick.Store(true)
	b.start(nil)
	b.create(testPod("web", func(p *corev1.Pod) {
		p.Spec.Containers[0].LivenessProbe = &corev1.Probe{ProbeHandler: execProbe("check"), PeriodSeconds: 1, FailureThreshold: 1}
	}))
	b.until("web", "restarted", running(1))
	events := strings.Join(b.drain(), "\n")
	for _, want := range []string{"Unhealthy Liveness probe failed: ill", "Killing Container app failed liveness probe, will be restarted"} {
		if !strings.Contains(events, want) {
			t.Errorf("no event %q in\n%s", want, events)
		}
	}
}

func TestReadinessProbeDecidesReady(t *testing.T) {
	var up atomic.Bool
	b := newBench(t, fakeruntime.Options{Exec: func(context.Context, *runtimeapi.ContainerConfig, []string) (*runtimeapi.ExecSyncResponse, error) {
		if up.Load() {
			return &runtimeapi.ExecSyncResponse{}, nil
		}
		return &runtimeapi.ExecSyncResponse{ExitCode: 1}, nil
	}})
	b.start(nil)
	b.create(testPod("web", func(p *corev1.Pod) {
		p.Spec.Containers[0].ReadinessProbe = &corev1.Probe{ProbeHandler: execProbe("check"), PeriodSeconds: 1}
	}))
	if p := b.until("web", "running", running(0)); ready(p) {
		t.Error("ready before the probe said so")
	}
	up.Store(true)
	b.until("web", "ready", ready)
}

func TestHooksRun(t *testing.T) {
	ran := make(chan string, 10)
	b := newBench(t, fakeruntime.Options{Exec: func(_ context.Context, _ *runtimeapi.ContainerConfig, cmd []string) (*runtimeapi.ExecSyncResponse, error) {
		ran <- strings.Join(cmd, " ")
		return &runtimeapi.ExecSyncResponse{}, nil
	}})
	b.start(nil)
	b.create(testPod("web", func(p *corev1.Pod) {
		p.Spec.Containers[0].Lifecycle = &corev1.Lifecycle{
			PostStart: &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: []string{"after", "start"}}},
			PreStop:   &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: []string{"before", "stop"}}},
		}
	}))
	p := b.until("web", "ready", ready)
	if err := b.api.Delete(context.Background(), p); err != nil {
		t.Fatal(err)
	}
	b.until("web", "gone", gone)
	if a, z := <-ran, <-ran; a != "after start" || z != "before stop" {
		t.Errorf("ran %q, then %q", a, z)
	}
}

func TestSandboxThatDiesIsReplaced(t *testing.T) {
	b := newBench(t, fakeruntime.Options{})
	b.start(nil)
	b.create(testPod("web"))
	before := b.until("web", "ready", ready)
	sbs, _ := b.rt.Dump()
	if _, err := b.rt.StopPodSandbox(context.Background(), &runtimeapi.StopPodSandboxRequest{PodSandboxId: sbs[0].Id}); err != nil {
		t.Fatal(err)
	}
	after := b.until("web", "running again", running(1))
	if before.Status.ContainerStatuses[0].ContainerID == after.Status.ContainerStatuses[0].ContainerID {
		t.Error("the container is still the old one")
	}
}
