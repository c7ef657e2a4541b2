package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/kubectl/pkg/util/qos"

	"github.com/gantryio/gantry/core/agent/criconfig"
	"github.com/gantryio/gantry/core/agent/image"
	"github.com/gantryio/gantry/core/agent/pod"
	"github.com/gantryio/gantry/interfaces/runtime"
)

func (w *worker) runSandbox(act pod.Action) func(context.Context) func() {
	p := w.sized()
	return func(ctx context.Context) func() {
		sb, ref, err := w.a.makeSandbox(ctx, p, act.Attempt)
		return func() {
			if sb.ID != "" {
				w.made(sb.ID, "", ref)
				w.obs.PutSandbox(sb)
			}
			if err == nil {
				w.obs.Sandbox = nil
				return
			}
			w.log.Warn("run sandbox", "err", err)
			waits := errors.Is(err, errNetwork)
			reason, text := "FailedCreatePodSandBox", "Failed to create pod sandbox: "+message(err)
			if waits {
				reason, text = "NetworkNotReady", err.Error()
			}
			w.a.event(p, "", corev1.EventTypeWarning, reason, text)
			w.obs.Sandbox = w.failure(w.obs.Sandbox, reason, err)
			if waits { // Nothing was tried yet, so that asking again costs nothing.
				w.obs.Sandbox.RetryAt = w.obs.Sandbox.At.Add(retryAfter)
			}
			w.a.relist(w)
		}
	}
}

// message is the text of an error as a person should see it.
func message(err error) string {
	if s, ok := status.FromError(err); ok && s.Message() != "" {
		return "rpc error: code = " + s.Code().String() + " desc = " + s.Message()
	}
	return err.Error()
}

// makeSandbox runs a pod's sandbox and reads its addresses.
func (a *Agent) makeSandbox(ctx context.Context, p *corev1.Pod, attempt uint32) (pod.Sandbox, Ref, error) {
	handler, err := a.handlerOf(ctx, p)
	if err != nil {
		return pod.Sandbox{}, Ref{}, err
	}
	rt, ref, inner, err := a.Runtimes.Runtime(handler)
	if err != nil {
		return pod.Sandbox{}, ref, err
	}
	if err := a.checkNetworks(ctx, p); err != nil {
		return pod.Sandbox{}, ref, err
	}
	cfg := a.sandboxConfig(p, attempt, ref, handler)
	if !a.Hollow {
		a.warnOfDNS(p)
		if err := os.MkdirAll(cfg.LogDirectory, 0o755); err != nil {
			return pod.Sandbox{}, ref, fmt.Errorf("make log directory: %w", err)
		}
		if err := a.mark(p.UID, ref.Plugin); err != nil {
			return pod.Sandbox{}, ref, err
		}
		if err := a.cgroups.Ensure(cfg.Linux.CgroupParent, cfg.Linux.Resources); err != nil {
			return pod.Sandbox{}, ref, err
		}
	}
	leave, err := a.starts.enter(ctx)
	if err != nil {
		return pod.Sandbox{}, ref, err
	}
	res, err := rt.RunPodSandbox(ctx, &runtimeapi.RunPodSandboxRequest{Config: cfg, RuntimeHandler: inner})
	leave()
	if err != nil {
		return pod.Sandbox{}, ref, err
	}
	out := pod.Sandbox{ID: res.GetPodSandboxId(), Attempt: attempt, Ready: true, CreatedAt: a.Clock.Now()}
	st, err := rt.PodSandboxStatus(ctx, &runtimeapi.PodSandboxStatusRequest{PodSandboxId: out.ID})
	if err != nil {
		return out, ref, fmt.Errorf("get sandbox status: %w", err)
	}
	return sandboxOf(st.GetStatus()), ref, nil
}

// sandboxConfig is the sandbox configuration of a pod on this node.
func (a *Agent) sandboxConfig(p *corev1.Pod, attempt uint32, ref Ref, handler string) *runtimeapi.PodSandboxConfig {
	resolvers, _ := a.dns(p)
	return criconfig.Sandbox(p, criconfig.SandboxInput{
		Attempt: attempt, Node: a.NodeName, Plugin: ref.Plugin + "@" + ref.Version, Handler: handler,
		LogDirectory:  criconfig.LogDirectory(a.LogDir, p.Namespace, p.Name, string(p.UID)),
		CgroupParent:  a.cgroups.Parent(qos.GetPodQOS(p), string(p.UID)),
		DNS:           resolvers,
		ClusterDomain: a.ClusterDomain, Profiles: a.profiles(),
	})
}

func (a *Agent) profiles() criconfig.Profiles {
	return criconfig.Profiles{SeccompDir: filepath.Join(a.KubeletDir, "seccomp")}
}

func (w *worker) checkImage(act pod.Action) func(context.Context) func() {
	p, c := w.cur, criconfig.Find(w.cur, act.Container)
	var prev *pod.Failure
	if img, ok := w.obs.Images[act.Container]; ok {
		prev = img.Failure
	}
	return func(ctx context.Context) func() {
		img := w.a.ensureImage(ctx, p, c, prev)
		return func() {
			if ctx.Err() == nil {
				w.obs.Images[act.Container] = img
			}
		}
	}
}

func (a *Agent) ensureImage(ctx context.Context, p *corev1.Pod, c *corev1.Container, prev *pod.Failure) pod.Image {
	handler, err := a.handlerOf(ctx, p)
	var rt runtime.Runtime
	var ref Ref
	var inner string
	if err == nil {
		rt, ref, inner, err = a.Runtimes.Runtime(handler)
	}
	if err != nil {
		now := a.Clock.Now()
		return pod.Image{Failure: &pod.Failure{Reason: image.ReasonInspect, Message: err.Error(), At: now, RetryAt: now.Add(retryAfter)}}
	}
	return a.puller.Ensure(ctx, rt, image.Request{
		Pod: p, Container: c, Handler: inner, Previous: prev,
		Sandbox: a.sandboxConfig(p, 0, ref, handler),
		Secrets: func(ctx context.Context) []*corev1.Secret { return a.pullSecrets(ctx, p) },
		Event:   func(t, reason, msg string) { a.event(p, c.Name, t, reason, msg) },
	})
}

func (w *worker) startContainer(act pod.Action) func(context.Context) func() {
	p, img := w.sized(), w.obs.Images[act.Container]
	c := criconfig.Find(p, act.Container)
	sb, ref := *w.sandbox(act.ID), w.refs[act.ID]
	delete(w.obs.Images, act.Container)
	s := starter{a: w.a, pod: p, c: c, img: img, sb: sb, act: act, target: w.target(p, c), fields: w.fields(sb.IPs)}
	var prev *pod.Failure
	if e, ok := w.obs.Errors[act.Container]; ok {
		prev = &e
	}
	return func(ctx context.Context) func() {
		rt, err := w.a.runtimeOf(ref)
		var id string
		if err == nil {
			id, err = s.start(ctx, rt)
		}
		if id == "" {
			return func() { w.startFailed(act.Container, prev, err) }
		}
		st, statusErr := rt.ContainerStatus(ctx, &runtimeapi.ContainerStatusRequest{ContainerId: id})
		hooked := err == nil && (c.Lifecycle == nil || c.Lifecycle.PostStart == nil)
		w.post(func() { w.started(id, sb.ID, ref, st.GetStatus(), hooked) })
		if err != nil {
			return func() { w.startFailed(act.Container, prev, err) }
		}
		if !hooked {
			err = w.a.postStart(w.ending, rt, p, c, id, first(sb.IPs))
		}
		return func() {
			delete(w.obs.Errors, act.Container)
			if statusErr != nil {
				w.dirty[id] = true
			}
			if have := w.container(id); have != nil {
				have.Hooked = err == nil
			}
			if err != nil {
				w.obs.Probes[act.Container] = pod.Probe{ContainerID: id, Unhealthy: pod.PostStart}
			}
		}
	}
}

// started takes a container's first state, before its postStart hook has run.
func (w *worker) started(id, sandboxID string, ref Ref, st *runtimeapi.ContainerStatus, hooked bool) {
	w.made(id, sandboxID, ref)
	if st == nil {
		w.dirty[id] = true
		return
	}
	c := w.a.containerOf(st)
	if have := w.container(id); have != nil && have.State > c.State {
		return
	}
	c.SandboxID, c.Hooked = sandboxID, hooked
	if w.obs.Resize.Restarts[c.Name] != c.ID {
		delete(w.obs.Resize.Restarts, c.Name)
	}
	w.put(c)
}

func (w *worker) startFailed(name string, prev *pod.Failure, err error) {
	reason, text := "CreateContainerError", message(err)
	switch {
	case errors.Is(err, criconfig.ErrConfig):
		reason, text = "CreateContainerConfigError", strings.TrimPrefix(err.Error(), criconfig.ErrConfig.Error()+": ")
		w.followMissing(name)
	case errors.Is(err, errStart):
		reason = "RunContainerError"
	}
	w.log.Warn("start container", "container", name, "err", err)
	w.a.event(w.cur, name, corev1.EventTypeWarning, "Failed", "Error: "+text)
	f := w.failure(prev, reason, errors.New(text))
	w.obs.Errors[name] = *f
}

// target is the container whose processes an ephemeral container is to see.
func (w *worker) target(p *corev1.Pod, c *corev1.Container) string {
	for i := range p.Spec.EphemeralContainers {
		e := &p.Spec.EphemeralContainers[i]
		if e.Name != c.Name || e.TargetContainerName == "" {
			continue
		}
		if have := w.obs.Newest(e.TargetContainerName); have != nil {
			return have.ID
		}
	}
	return ""
}

func first(s []string) string {
	if len(s) == 0 {
		return ""
	}
	return s[0]
}
