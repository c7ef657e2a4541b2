package agent

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/gantryio/gantry/core/agent/pod"
	"github.com/gantryio/gantry/core/agent/probe"
)

// prober is the probes of one container incarnation.
type prober struct {
	id      string
	started atomic.Bool
	cancel  context.CancelFunc
	harsh   context.CancelFunc
}

func (p *prober) stop() { p.cancel() }

// probe starts the probes of containers that run and ends those of containers that do not. A pod that ends keeps its
// readiness probes only.
func (w *worker) probe(ending bool) {
	each := func(c *corev1.Container) {
		if c.LivenessProbe == nil && c.ReadinessProbe == nil && c.StartupProbe == nil {
			return
		}
		have, pr := w.obs.Newest(c.Name), w.probes[c.Name]
		live := have != nil && have.State == pod.Running && have.Hooked
		if pr != nil && (!live || pr.id != have.ID) {
			pr.stop()
			delete(w.probes, c.Name)
			pr = nil
		}
		switch {
		case pr == nil && live && !ending:
			w.probes[c.Name] = w.startProbes(c, have)
		case pr != nil && ending:
			pr.harsh()
		}
	}
	for i := range w.cur.Spec.Containers {
		each(&w.cur.Spec.Containers[i])
	}
	for i := range w.cur.Spec.InitContainers {
		if pod.Sidecar(&w.cur.Spec.InitContainers[i]) {
			each(&w.cur.Spec.InitContainers[i])
		}
	}
}

// startProbes begins with what the API already says of this very incarnation, so that a restart of the agent does not
// turn a ready pod unready.
func (w *worker) startProbes(c *corev1.Container, have *pod.Container) *prober {
	ctx, cancel := context.WithCancel(w.ctx)
	harshCtx, harsh := context.WithCancel(ctx)
	pr := &prober{id: have.ID, cancel: cancel, harsh: harsh}
	first := pod.Probe{ContainerID: have.ID, Started: c.StartupProbe == nil, Ready: c.ReadinessProbe == nil}
	old := w.apiStatus(c.Name)
	known := old != nil && old.ContainerID == w.a.prefix(w.refs[have.ID])+"://"+have.ID
	if known {
		first.Started = first.Started || old.Started != nil && *old.Started
		first.Ready = first.Ready || old.Ready
	}
	w.obs.Probes[c.Name] = first
	pr.started.Store(first.Started)
	set := func(change func(*pod.Probe)) {
		w.post(func() {
			if v := w.obs.Probes[c.Name]; v.ContainerID == have.ID {
				change(&v)
				w.obs.Probes[c.Name] = v
			}
		})
	}
	paused := func() bool { return !pr.started.Load() }
	run := func(ctx context.Context, kind probe.Kind, spec *corev1.Probe, paused func() bool, tell func(bool)) {
		worker := &probe.Worker{
			Kind: kind, Spec: spec, Clock: w.a.Clock, StartedAt: have.StartedAt, Spread: known, Tell: tell, Paused: paused,
			Once: kind == probe.Startup, Try: w.try(c, have, spec), Told: w.told(kind, c.Name),
		}
		go worker.Run(ctx)
	}
	if c.StartupProbe != nil && !first.Started {
		run(harshCtx, probe.Startup, c.StartupProbe, nil, func(ok bool) {
			if ok {
				pr.started.Store(true)
			}
			set(func(v *pod.Probe) { v.Started = v.Started || ok; v.Unhealthy = unhealthy(ok, "startup", v.Unhealthy) })
			w.graceOf(c.Name, c.StartupProbe, ok)
		})
	}
	if c.ReadinessProbe != nil {
		run(ctx, probe.Readiness, c.ReadinessProbe, paused, func(ok bool) { set(func(v *pod.Probe) { v.Ready = ok }) })
	}
	if c.LivenessProbe != nil {
		run(harshCtx, probe.Liveness, c.LivenessProbe, paused, func(ok bool) {
			w.graceOf(c.Name, c.LivenessProbe, ok)
			set(func(v *pod.Probe) { v.Unhealthy = unhealthy(ok, "liveness", v.Unhealthy) })
		})
	}
	return pr
}

func unhealthy(ok bool, kind, was string) string {
	if ok {
		return was
	}
	return kind
}

// graceOf notes the grace period that a failing probe wants.
func (w *worker) graceOf(name string, spec *corev1.Probe, ok bool) {
	if ok || spec.TerminationGracePeriodSeconds == nil {
		return
	}
	g := *spec.TerminationGracePeriodSeconds
	w.post(func() {
		if w.obs.TerminationGrace == nil {
			w.obs.TerminationGrace = map[string]int64{}
		}
		w.obs.TerminationGrace[name] = g
	})
}

func (w *worker) apiStatus(name string) *corev1.ContainerStatus {
	for _, list := range [][]corev1.ContainerStatus{w.cur.Status.ContainerStatuses, w.cur.Status.InitContainerStatuses} {
		for i := range list {
			if list[i].Name == name {
				return &list[i]
			}
		}
	}
	return nil
}

// told makes the event of a try that did not succeed.
func (w *worker) told(kind probe.Kind, name string) func(probe.Outcome, string) {
	p := w.cur
	return func(o probe.Outcome, text string) {
		switch o {
		case probe.Warning:
			w.a.event(p, name, corev1.EventTypeWarning, "ProbeWarning", fmt.Sprintf("%s probe warning: %s", kind, text))
		case probe.Unknown:
			w.a.event(p, name, corev1.EventTypeWarning, "Unhealthy", fmt.Sprintf("%s probe errored: %s", kind, text))
		default:
			w.a.event(p, name, corev1.EventTypeWarning, "Unhealthy", fmt.Sprintf("%s probe failed: %s", kind, text))
		}
	}
}

// try makes the function that probes one incarnation.
func (w *worker) try(c *corev1.Container, have *pod.Container, spec *corev1.Probe) probe.Try {
	var ips []string
	if sb := w.obs.Current(); sb != nil {
		ips = sb.IPs
	}
	if w.cur.Spec.HostNetwork {
		ips = w.a.ips()
	}
	ip, ref, id, timeout := first(ips), w.refs[have.ID], have.ID, probe.Timeout(spec)
	return func(ctx context.Context) (probe.Outcome, string) {
		switch {
		case spec.HTTPGet != nil:
			return probe.HTTP(ctx, spec.HTTPGet, c, ip, timeout)
		case spec.TCPSocket != nil:
			return probe.TCP(ctx, spec.TCPSocket, c, ip, timeout)
		case spec.GRPC != nil:
			return probe.GRPC(ctx, spec.GRPC, ip, timeout)
		case spec.Exec != nil:
			rt, err := w.a.runtimeOf(ref)
			if err != nil {
				return probe.Unknown, err.Error()
			}
			// The runtime ends the command itself. It may then wait for others that hold its output, for which the call is bounded, too.
			ctx, cancel := context.WithTimeout(ctx, timeout+time.Second)
			defer cancel()
			res, err := rt.ExecSync(ctx, &runtimeapi.ExecSyncRequest{ContainerId: id, Cmd: spec.Exec.Command, Timeout: int64(timeout.Seconds())})
			return probe.ExecResult(append(res.GetStdout(), res.GetStderr()...), res.GetExitCode(), err)
		}
		return probe.Success, ""
	}
}
