package agent

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/kubelet/pkg/types"

	"github.com/gantryio/gantry/core/agent/criconfig"
	"github.com/gantryio/gantry/core/agent/logs"
	"github.com/gantryio/gantry/core/agent/pod"
)

const (
	callTimeout     = 10 * time.Second
	retryAfter      = time.Second
	maxMessage      = 4096
	maxMessageOfLog = 2048
	maxMessageLines = 80
)

// listing is what one runtime lists of one pod.
type listing struct {
	ref        Ref
	sandboxes  []*runtimeapi.PodSandbox
	containers []*runtimeapi.Container
}

// listAll lists what a runtime runs for this node, by pod.
func (a *Agent) listAll(ctx context.Context, i Instance) (map[string]*listing, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	sbs, err := i.Runtime.ListPodSandbox(ctx, &runtimeapi.ListPodSandboxRequest{})
	if err != nil {
		return nil, fmt.Errorf("list sandboxes of %s: %w", i.Plugin, err)
	}
	cs, err := i.Runtime.ListContainers(ctx, &runtimeapi.ListContainersRequest{})
	if err != nil {
		return nil, fmt.Errorf("list containers of %s: %w", i.Plugin, err)
	}
	out := map[string]*listing{}
	for _, sb := range sbs.GetItems() {
		uid := sb.GetMetadata().GetUid()
		if node := criconfig.NodeOf(sb.GetAnnotations()); uid == "" || node != a.NodeName {
			continue
		}
		if out[uid] == nil {
			out[uid] = &listing{ref: i.Ref}
		}
		out[uid].sandboxes = append(out[uid].sandboxes, sb)
	}
	for _, c := range cs.GetContainers() {
		if l := out[types.GetPodUID(c.GetLabels())]; l != nil {
			l.containers = append(l.containers, c)
		}
	}
	return out, nil
}

// absorb compares a runtime's listing with what is observed and marks what differs to be read again.
func (w *worker) absorb(ref Ref, l *listing) {
	if l == nil {
		l = &listing{ref: ref}
	}
	seen := map[string]bool{}
	for _, s := range l.sandboxes {
		seen[s.GetId()] = true
		w.refs[s.GetId()] = ref
		if have := w.sandbox(s.GetId()); have == nil || have.Ready != (s.GetState() == runtimeapi.PodSandboxState_SANDBOX_READY) {
			w.dirty[s.GetId()] = true
		}
	}
	for _, c := range l.containers {
		seen[c.GetId()] = true
		w.refs[c.GetId()] = ref
		w.sandboxes[c.GetId()] = c.GetPodSandboxId()
		if have := w.container(c.GetId()); have == nil || have.State != stateOf(c.GetState()) {
			w.dirty[c.GetId()] = true
		}
	}
	if len(w.inflight) > 0 {
		return
	}
	for id, r := range w.refs {
		if r == ref && !seen[id] {
			w.dirty[id] = true
		}
	}
}

func (w *worker) sandbox(id string) *pod.Sandbox {
	for i := range w.obs.Sandboxes {
		if w.obs.Sandboxes[i].ID == id {
			return &w.obs.Sandboxes[i]
		}
	}
	return nil
}

func (w *worker) container(id string) *pod.Container {
	for _, cs := range w.obs.Containers {
		for i := range cs {
			if cs[i].ID == id {
				return &cs[i]
			}
		}
	}
	return nil
}

// refresh reads anew what events and audits have marked.
func (w *worker) refresh() {
	for id := range w.dirty {
		ref, ok := w.refs[id]
		if !ok || w.obs.Busy[pod.RemoveSubject(id)] || w.obs.Busy[pod.RemoveSubject(w.sandboxOfContainer(id))] {
			delete(w.dirty, id)
			continue
		}
		if err := w.read(id, ref); err != nil {
			w.log.Warn("read state from runtime", "id", id, "err", err)
			w.retry = true
			continue
		}
		delete(w.dirty, id)
	}
}

// read reads one sandbox or container by its id, whichever it is.
func (w *worker) read(id string, ref Ref) error {
	rt, err := w.a.runtimeOf(ref)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(w.ctx, callTimeout)
	defer cancel()
	if w.container(id) == nil {
		res, err := rt.PodSandboxStatus(ctx, &runtimeapi.PodSandboxStatusRequest{PodSandboxId: id})
		if err == nil {
			w.obs.PutSandbox(w.a.connected(res.GetStatus()))
			w.a.own(id, w)
			return nil
		}
		if status.Code(err) != codes.NotFound {
			return fmt.Errorf("get sandbox status: %w", err)
		}
	}
	res, err := rt.ContainerStatus(ctx, &runtimeapi.ContainerStatusRequest{ContainerId: id})
	switch {
	case status.Code(err) == codes.NotFound:
		w.drop(id)
		return nil
	case err != nil:
		return fmt.Errorf("get container status: %w", err)
	}
	w.putStatus(res.GetStatus(), "")
	return nil
}

func (w *worker) drop(id string) {
	if w.sandbox(id) != nil {
		w.obs.DropSandbox(id)
	}
	w.obs.Drop(id)
	delete(w.refs, id)
	delete(w.sandboxes, id)
	w.a.disown(id)
}

// putStatus takes a container's state. One that is being started is taken from the start itself.
func (w *worker) putStatus(st *runtimeapi.ContainerStatus, sandboxID string) {
	c := w.a.containerOf(st)
	if c.SandboxID = sandboxID; sandboxID == "" {
		c.SandboxID = w.sandboxOfContainer(st.GetId())
	}
	busy := w.obs.Busy[pod.ContainerSubject(c.Name)]
	if busy && c.State == pod.Created {
		return
	}
	c.Hooked = !busy
	w.put(c)
	w.a.own(c.ID, w)
}

// put takes a container with the size that it was given last. One that an earlier agent made without noting its size has what the
// pod was granted.
func (w *worker) put(c pod.Container) {
	if size, ok := w.given[c.ID]; ok {
		c.Size = size
	} else if spec := criconfig.Find(w.sized(), c.Name); !c.Noted && spec != nil {
		c.Size = pod.SizeOf(w.sized(), spec)
	}
	w.obs.Put(c)
}

func (w *worker) sandboxOfContainer(id string) string {
	if have := w.container(id); have != nil {
		return have.SandboxID
	}
	return w.sandboxes[id]
}

func sandboxOf(s *runtimeapi.PodSandboxStatus) pod.Sandbox {
	out := pod.Sandbox{
		ID: s.GetId(), Attempt: s.GetMetadata().GetAttempt(), Ready: s.GetState() == runtimeapi.PodSandboxState_SANDBOX_READY,
		CreatedAt: nanos(s.GetCreatedAt()),
	}
	if ip := s.GetNetwork().GetIp(); ip != "" {
		out.IPs = append(out.IPs, ip)
	}
	for _, ip := range s.GetNetwork().GetAdditionalIps() {
		out.IPs = append(out.IPs, ip.GetIp())
	}
	return out
}

// connected is a sandbox as it is, but not ready when it has lost its network.
func (a *Agent) connected(s *runtimeapi.PodSandboxStatus) pod.Sandbox {
	out := sandboxOf(s)
	own := s.GetLinux().GetNamespaces().GetOptions().GetNetwork() == runtimeapi.NamespaceMode_POD
	if a.Attached != nil && own && !a.Attached(out.ID) {
		out.Ready = false
	}
	return out
}

func nanos(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n)
}

func stateOf(s runtimeapi.ContainerState) pod.State {
	switch s {
	case runtimeapi.ContainerState_CONTAINER_CREATED:
		return pod.Created
	case runtimeapi.ContainerState_CONTAINER_RUNNING:
		return pod.Running
	case runtimeapi.ContainerState_CONTAINER_EXITED:
		return pod.Exited
	}
	return pod.Unknown
}

func (a *Agent) containerOf(s *runtimeapi.ContainerStatus) pod.Container {
	made := criconfig.ReadContainer(s.GetAnnotations())
	c := pod.Container{
		ID: s.GetId(), Name: s.GetMetadata().GetName(), Attempt: s.GetMetadata().GetAttempt(), Step: made.Step, Hash: made.Hash,
		State: stateOf(s.GetState()), CreatedAt: nanos(s.GetCreatedAt()), StartedAt: nanos(s.GetStartedAt()),
		FinishedAt: nanos(s.GetFinishedAt()), ExitCode: s.GetExitCode(), Reason: s.GetReason(), Message: s.GetMessage(),
		Image: made.Image, ImageID: s.GetImageRef(), User: userOf(s.GetUser()), StopSignal: signalOf(s.GetStopSignal()),
		Size: made.Size, Noted: made.Sized, Actual: criconfig.ActualSize(s.GetResources().GetLinux()),
	}
	if c.State == pod.Exited {
		if text := a.terminationMessage(made, s, c.ExitCode); text != "" {
			c.Message = text
		}
	}
	return c
}

func userOf(u *runtimeapi.ContainerUser) *corev1.ContainerUser {
	l := u.GetLinux()
	if l == nil {
		return nil
	}
	return &corev1.ContainerUser{Linux: &corev1.LinuxContainerUser{
		UID: l.GetUid(), GID: l.GetGid(), SupplementalGroups: l.GetSupplementalGroups(),
	}}
}

func signalOf(s runtimeapi.Signal) *corev1.Signal {
	if s == runtimeapi.Signal_SIGNAL_RUNTIME_DEFAULT {
		return nil
	}
	out := corev1.Signal(strings.TrimPrefix(s.String(), "SIGNAL_"))
	return &out
}

// terminationMessage reads what a container left as its last words.
func (a *Agent) terminationMessage(made criconfig.Made, s *runtimeapi.ContainerStatus, exit int32) string {
	if made.MessageFile == "" {
		return ""
	}
	raw, err := os.ReadFile(made.MessageFile)
	if err == nil && len(raw) > 0 {
		return string(raw[:min(len(raw), maxMessage)])
	}
	if exit == 0 || made.Policy != corev1.TerminationMessageFallbackToLogsOnError || s.GetLogPath() == "" {
		return ""
	}
	text, err := logs.Tail(s.GetLogPath(), maxMessageLines, maxMessageOfLog)
	if err != nil {
		return fmt.Sprintf("Error on reading termination message from logs: %v", err)
	}
	return text
}
