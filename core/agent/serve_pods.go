package agent

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/gantryio/gantry/core/agent/criconfig"
	"github.com/gantryio/gantry/core/agent/pod"
	"github.com/gantryio/gantry/core/agent/stream"
	"github.com/gantryio/gantry/interfaces/runtime"
)

var _ stream.Pods = (*Agent)(nil)

// find returns the goroutine of a pod by name, the newest one when an older pod of that name still ends.
func (a *Agent) find(namespace, name, uid string) (*worker, error) {
	var out *worker
	for _, w := range a.snapshot() {
		p := w.pod.Load()
		if p.Namespace != namespace || p.Name != name || uid != "" && string(p.UID) != uid {
			continue
		}
		if out == nil || out.pod.Load().CreationTimestamp.Before(&p.CreationTimestamp) {
			out = w
		}
	}
	if out == nil {
		if plugin := a.waitsFor(namespace, name); plugin != "" {
			return nil, fmt.Errorf("pod %q waits for runtime plugin %s to answer: %w", namespace+"/"+name, plugin, stream.ErrBad)
		}
		return nil, fmt.Errorf("pod %q: %w", namespace+"/"+name, stream.ErrNotFound)
	}
	return out, nil
}

// ask runs a function in the pod's goroutine and waits for it.
func (w *worker) ask(f func()) error {
	done := make(chan struct{})
	w.post(func() { f(); close(done) })
	select {
	case <-done:
		return nil
	case <-w.done:
		return fmt.Errorf("pod has ended: %w", stream.ErrNotFound)
	}
}

// ContainerLog implements stream.Pods.
func (a *Agent) ContainerLog(namespace, name, container string, previous bool) (stream.LogRef, error) {
	w, err := a.find(namespace, name, "")
	if err != nil {
		return stream.LogRef{}, err
	}
	var ref stream.LogRef
	askErr := w.ask(func() { ref, err = w.logRef(container, previous) })
	return ref, errors.Join(askErr, err)
}

func (w *worker) logRef(container string, previous bool) (stream.LogRef, error) {
	if criconfig.Find(w.cur, container) == nil {
		return stream.LogRef{}, fmt.Errorf("container %q in pod %q is not valid: %w", container, w.cur.Name, stream.ErrBad)
	}
	var c *pod.Container
	switch cs := w.obs.Containers[container]; {
	case len(cs) == 0 && previous:
	case len(cs) == 0:
		return stream.LogRef{}, fmt.Errorf("container %q in pod %q is waiting to start: %s: %w",
			container, w.cur.Name, w.waitingReason(container), stream.ErrBad)
	case previous && cs[0].State == pod.Running && len(cs) > 1:
		c = &cs[1]
	case previous && (cs[0].State == pod.Running || cs[0].Attempt == 0 && w.over(&cs[0])):
	default:
		c = &cs[0]
	}
	if c == nil {
		return stream.LogRef{}, fmt.Errorf("previous terminated container %q in pod %q not found: %w", container, w.cur.Name, stream.ErrBad)
	}
	dir := criconfig.LogDirectory(w.a.LogDir, w.cur.Namespace, w.cur.Name, string(w.uid))
	return stream.LogRef{Path: filepath.Join(dir, criconfig.LogPath(container, c.Attempt)), Ended: w.ended(c.ID)}, nil
}

// over tells whether an incarnation is the last one, so that nothing came before it.
func (w *worker) over(c *pod.Container) bool {
	st := w.apiStatus(c.Name)
	return st == nil || st.State.Terminated != nil
}

func (w *worker) waitingReason(container string) string {
	if st := w.apiStatus(container); st != nil && st.State.Waiting != nil {
		return st.State.Waiting.Reason
	}
	return "ContainerCreating"
}

// ended returns a channel that is closed when a container does not run any more.
func (w *worker) ended(id string) <-chan struct{} {
	if w.ends == nil {
		w.ends = map[string]chan struct{}{}
	}
	if w.ends[id] == nil {
		w.ends[id] = make(chan struct{})
	}
	out := w.ends[id]
	w.tellEnds(false)
	return out
}

// tellEnds tells those who follow logs of what has ended, which is all when the pod is gone.
func (w *worker) tellEnds(all bool) {
	for id, ch := range w.ends {
		if c := w.container(id); all || c == nil || c.State == pod.Exited {
			close(ch)
			delete(w.ends, id)
		}
	}
}

// session finds the runtime and the ids that a session needs.
func (a *Agent) session(namespace, name, uid, container string) (rt runtime.Runtime, sandboxID, id string, err error) {
	w, err := a.find(namespace, name, uid)
	if err != nil {
		return nil, "", "", err
	}
	var ref Ref
	askErr := w.ask(func() {
		if sb := w.obs.Current(); sb != nil {
			sandboxID, ref = sb.ID, w.refs[sb.ID]
		}
		if c := w.obs.Newest(container); c != nil && c.State == pod.Running {
			id = c.ID
		}
	})
	switch {
	case askErr != nil:
		return nil, "", "", askErr
	case sandboxID == "":
		return nil, "", "", fmt.Errorf("pod %q has no running sandbox: %w", namespace+"/"+name, stream.ErrBad)
	case container != "" && id == "":
		return nil, "", "", fmt.Errorf("container not found (%q): %w", container, stream.ErrNotFound)
	}
	rt, err = a.runtimeOf(ref)
	return rt, sandboxID, id, err
}

// Exec implements stream.Pods.
func (a *Agent) Exec(ctx context.Context, namespace, name, uid string, r stream.ExecRequest) (*url.URL, error) {
	rt, _, id, err := a.session(namespace, name, uid, r.Container)
	if err != nil {
		return nil, err
	}
	res, err := rt.Exec(ctx, &runtimeapi.ExecRequest{
		ContainerId: id, Cmd: r.Command, Tty: r.TTY, Stdin: r.Stdin, Stdout: r.Stdout, Stderr: r.Stderr,
	})
	return streamURL("exec", res.GetUrl(), err)
}

// Attach implements stream.Pods.
func (a *Agent) Attach(ctx context.Context, namespace, name, uid string, r stream.ExecRequest) (*url.URL, error) {
	rt, _, id, err := a.session(namespace, name, uid, r.Container)
	if err != nil {
		return nil, err
	}
	w, err := a.find(namespace, name, uid)
	if err != nil {
		return nil, err
	}
	if c := criconfig.Find(w.pod.Load(), r.Container); c != nil {
		if r.TTY = c.TTY; r.TTY {
			r.Stderr = false
		}
	}
	res, err := rt.Attach(ctx, &runtimeapi.AttachRequest{ContainerId: id, Tty: r.TTY, Stdin: r.Stdin, Stdout: r.Stdout, Stderr: r.Stderr})
	return streamURL("attach", res.GetUrl(), err)
}

// PortForward implements stream.Pods.
func (a *Agent) PortForward(ctx context.Context, namespace, name, uid string, ports []int32) (*url.URL, error) {
	rt, sandboxID, _, err := a.session(namespace, name, uid, "")
	if err != nil {
		return nil, err
	}
	res, err := rt.PortForward(ctx, &runtimeapi.PortForwardRequest{PodSandboxId: sandboxID, Port: ports})
	return streamURL("port-forward", res.GetUrl(), err)
}

func streamURL(what, raw string, err error) (*url.URL, error) {
	if err != nil {
		return nil, fmt.Errorf("start %s session: %s", what, message(err))
	}
	u, err := url.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("start %s session: %w", what, err)
	}
	return u, nil
}

// List implements stream.Pods.
func (a *Agent) List() []*corev1.Pod {
	all := a.snapshot()
	out := make([]*corev1.Pod, 0, len(all))
	for _, w := range all {
		out = append(out, w.pod.Load())
	}
	return out
}

// Healthy implements stream.Pods.
func (a *Agent) Healthy(context.Context) error {
	select {
	case <-a.ready:
		return nil
	default:
		return errors.New("the agent does not know its pods yet")
	}
}
