package agent

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gantryio/gantry/core/agent/pod"
)

// report writes the pod's status when it says something new. One write is under way at a time, so that a burst of changes
// costs one write for the first and one for the rest.
func (w *worker) report(now time.Time) {
	if w.obs.Gone || w.obs.Deleted && len(w.cur.Finalizers) == 0 {
		return
	}
	want := pod.Status(w.sized(), w.obs, pod.Node{IPs: w.a.ips(), RuntimePrefix: w.prefix()}, now)
	w.tellBackOffs(&want)
	w.noteReady(&want, now)
	if w.isStatic && w.mirror == nil {
		w.obs.Synced = true
		return
	}
	if w.obs.Synced = pod.Same(&want, &w.cur.Status); w.obs.Synced || w.writing {
		return
	}
	w.writing = true
	obj := w.cur.DeepCopy()
	obj.Status = want
	write := func() func() { return w.write(w.ctx, obj) }
	if mirror := w.mirror; w.isStatic {
		write = func() func() { return w.writeMirror(w.ctx, mirror, want) }
	}
	go func() {
		after := write()
		w.post(func() {
			w.writing = false
			after()
		})
	}()
}

// prefix is how ids of this pod's containers begin.
func (w *worker) prefix() string {
	for i := range w.obs.Sandboxes {
		return w.a.prefix(w.refs[w.obs.Sandboxes[i].ID])
	}
	return w.a.prefix(Ref{})
}

// write stores a status and returns what the goroutine is to learn from it.
func (w *worker) write(ctx context.Context, obj *corev1.Pod) func() {
	err := w.a.API.Status().Update(ctx, obj)
	switch {
	case err == nil:
		return func() { w.adopt(obj) }
	case apierrors.IsNotFound(err):
		return func() { w.obs.Gone = true }
	case apierrors.IsConflict(err):
		return w.reread(ctx, obj)
	}
	w.log.Warn("write pod status", "err", fmt.Errorf("update status of %s/%s: %w", obj.Namespace, obj.Name, err))
	w.hold(ctx)
	return func() {}
}

// reread fetches the version that a write conflicted with.
func (w *worker) reread(ctx context.Context, obj *corev1.Pod) func() {
	var live corev1.Pod
	err := w.a.API.Get(ctx, client.ObjectKeyFromObject(obj), &live)
	switch {
	case apierrors.IsNotFound(err) || err == nil && live.UID != w.uid:
		return func() { w.obs.Gone = true }
	case err != nil:
		w.log.Warn("read pod after a conflict", "err", err)
		w.hold(ctx)
		return func() {}
	}
	return func() {
		before := w.cur
		if w.adopt(&live); w.cur == before && live.ResourceVersion == before.ResourceVersion {
			w.log.Debug("status conflicts with the version that it is based on")
			w.retry = true
		}
	}
}

// hold waits before the next attempt to write.
func (w *worker) hold(ctx context.Context) {
	t := w.a.Clock.NewTimer(retryAfter)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C():
	}
}

// tellBackOffs makes an event of each back-off that a status shows and that was not told of before.
func (w *worker) tellBackOffs(s *corev1.PodStatus) {
	for _, list := range [][]corev1.ContainerStatus{s.InitContainerStatuses, s.ContainerStatuses, s.EphemeralContainerStatuses} {
		for i := range list {
			name, wait := list[i].Name, list[i].State.Waiting
			if wait == nil || wait.Reason != pod.CrashLoopBackOff && wait.Reason != pod.ImagePullBackOff {
				delete(w.backOffs, name)
				continue
			}
			if w.backOffs[name] == wait.Message {
				continue
			}
			w.backOffs[name] = wait.Message
			if wait.Reason == pod.CrashLoopBackOff {
				w.a.event(w.cur, name, corev1.EventTypeWarning, "BackOff",
					fmt.Sprintf("Back-off restarting failed container %s in pod %s_%s(%s)", name, w.cur.Name, w.cur.Namespace, w.uid))
				continue
			}
			w.a.event(w.cur, name, corev1.EventTypeNormal, "BackOff", fmt.Sprintf("Back-off pulling image %q", list[i].Image))
			w.a.event(w.cur, name, corev1.EventTypeWarning, "Failed", "Error: "+pod.ImagePullBackOff)
		}
	}
}
