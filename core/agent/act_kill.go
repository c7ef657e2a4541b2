package agent

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/gantryio/gantry/core/agent/criconfig"
	"github.com/gantryio/gantry/core/agent/pod"
	"github.com/gantryio/gantry/core/agent/probe"
	"github.com/gantryio/gantry/interfaces/runtime"
)

// minStopGrace is what a container is left with even when its preStop hook used its whole grace period.
const minStopGrace = 2 * time.Second

func (w *worker) killContainer(act pod.Action) func(context.Context) func() {
	p, c, ref := w.cur, criconfig.Find(w.cur, act.Container), w.refs[act.ID]
	repeated := w.inflight[act.Subject()] > 0
	sandboxID := w.sandboxOfContainer(act.ID)
	var ip string
	if sb := w.sandbox(sandboxID); sb != nil {
		ip = first(sb.IPs)
	}
	if c == nil {
		c = &corev1.Container{Name: act.Container}
	}
	if !repeated {
		w.a.event(p, act.Container, corev1.EventTypeNormal, "Killing", act.Message)
	}
	return func(ctx context.Context) func() {
		rt, err := w.a.runtimeOf(ref)
		var st *runtimeapi.ContainerStatusResponse
		if err == nil {
			left := time.Duration(act.Grace) * time.Second
			if !repeated {
				left = w.a.preStop(ctx, rt, p, c, act.ID, ip, left)
			}
			_, err = rt.StopContainer(ctx, &runtimeapi.StopContainerRequest{ContainerId: act.ID, Timeout: int64(left / time.Second)})
			if err == nil {
				st, err = rt.ContainerStatus(ctx, &runtimeapi.ContainerStatusRequest{ContainerId: act.ID})
			}
		}
		if err != nil && status.Code(err) != codes.NotFound && ctx.Err() == nil {
			w.log.Warn("stop container", "container", act.Container, "err", err)
			w.pause(ctx)
		}
		return func() {
			if w.inflight[act.Subject()] == 0 {
				delete(w.obs.Killing, act.Container)
			}
			switch {
			case status.Code(err) == codes.NotFound:
				w.drop(act.ID)
			case err != nil:
				w.dirty[act.ID] = true
			default:
				w.putStatus(st.GetStatus(), sandboxID)
			}
		}
	}
}

// preStop runs a container's preStop hook within its grace period and returns what is left of the period.
func (a *Agent) preStop(ctx context.Context, rt runtime.Runtime, p *corev1.Pod, c *corev1.Container, id, ip string, grace time.Duration) time.Duration {
	if c.Lifecycle == nil || c.Lifecycle.PreStop == nil {
		return grace
	}
	start := a.Clock.Now()
	hookCtx, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	if err := a.hook(hookCtx, rt, c.Lifecycle.PreStop, c, id, ip, grace); err != nil {
		a.event(p, c.Name, corev1.EventTypeWarning, "FailedPreStopHook", "PreStopHook failed: "+err.Error())
	}
	return max(grace-a.Clock.Since(start), minStopGrace)
}

// postStart runs a container's postStart hook. Its failure is told, and the caller kills the container.
func (a *Agent) postStart(ctx context.Context, rt runtime.Runtime, p *corev1.Pod, c *corev1.Container, id, ip string) error {
	err := a.hook(ctx, rt, c.Lifecycle.PostStart, c, id, ip, 0)
	if err != nil && ctx.Err() == nil {
		a.event(p, c.Name, corev1.EventTypeWarning, "FailedPostStartHook", "PostStartHook failed: "+err.Error())
	}
	return err
}

func (a *Agent) hook(ctx context.Context, rt runtime.Runtime, h *corev1.LifecycleHandler, c *corev1.Container, id, ip string, limit time.Duration) error {
	switch {
	case h.Exec != nil:
		res, err := rt.ExecSync(ctx, &runtimeapi.ExecSyncRequest{ContainerId: id, Cmd: h.Exec.Command, Timeout: int64(limit / time.Second)})
		if err != nil {
			return fmt.Errorf("run hook: %s", message(err))
		}
		if res.GetExitCode() != 0 {
			return fmt.Errorf("run hook: command exited with %d: %s%s", res.GetExitCode(), res.GetStdout(), res.GetStderr())
		}
	case h.HTTPGet != nil:
		req, err := probe.NewRequest(ctx, h.HTTPGet, c, ip, "kube-lifecycle/1.37")
		if err != nil {
			return err
		}
		res, err := probe.Client(limit).Do(req)
		if err != nil {
			return fmt.Errorf("run hook: %w", err)
		}
		defer res.Body.Close()
		if body, _ := io.ReadAll(io.LimitReader(res.Body, 10<<10)); res.StatusCode >= http.StatusBadRequest {
			return fmt.Errorf("run hook: status %d: %s", res.StatusCode, body)
		}
	case h.TCPSocket != nil:
		port, err := probe.Port(h.TCPSocket.Port, c)
		if err != nil {
			return err
		}
		host := h.TCPSocket.Host
		if host == "" {
			host = ip
		}
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
		if err != nil {
			return fmt.Errorf("run hook: %w", err)
		}
		return conn.Close()
	case h.Sleep != nil:
		t := a.Clock.NewTimer(time.Duration(h.Sleep.Seconds) * time.Second)
		defer t.Stop()
		select {
		case <-t.C():
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
