package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/kubectl/pkg/util/qos"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gantryio/gantry/core/agent/criconfig"
	"github.com/gantryio/gantry/core/agent/logs"
	"github.com/gantryio/gantry/core/agent/pod"
)

// act starts one action of a plan.
func (w *worker) act(act pod.Action) {
	switch s := act.Subject(); act.Verb {
	case pod.PrepareVolumes:
		w.op(s, w.ctx, w.timed("volumes", w.prepareVolumes()))
	case pod.ReleaseVolumes:
		w.op(s, w.ctx, w.releaseVolumes())
	case pod.RunSandbox:
		w.op(s, w.ctx, w.timed("sandbox", w.runSandbox(act)))
	case pod.StopSandbox:
		w.op(s, w.ctx, w.stopSandbox(act))
	case pod.RemoveSandbox, pod.RemoveContainer:
		w.op(s, w.ctx, w.remove(act))
	case pod.CheckImage:
		w.op(s, w.ending, w.timed("image of "+act.Container, w.checkImage(act)))
	case pod.StartContainer:
		w.op(s, w.ctx, w.timed("start of "+act.Container, w.startContainer(act)))
	case pod.ResizePod:
		w.op(s, w.ctx, w.resizePod())
	case pod.KillContainer:
		if act.Resizes {
			if w.obs.Resize.Restarts == nil {
				w.obs.Resize.Restarts = map[string]string{}
			}
			w.obs.Resize.Restarts[act.Container] = act.ID
		}
		w.obs.Killing[act.Container] = w.a.Clock.Now().Add(time.Duration(act.Grace) * time.Second)
		w.op(s, w.ctx, w.killContainer(act))
	case pod.DeletePod:
		w.op(s, w.ctx, w.deletePod())
	}
}

// failure counts on from an earlier failure of the same step, with a back-off from a second to a minute.
func (w *worker) failure(prev *pod.Failure, reason string, err error) *pod.Failure {
	now := w.a.Clock.Now()
	f := &pod.Failure{Reason: reason, Message: err.Error(), Count: 1, At: now}
	if prev != nil {
		f.Count = prev.Count + 1
	}
	f.RetryAt = now.Add(min(time.Second<<min(f.Count-1, 6), time.Minute))
	return f
}

func (w *worker) fields(ips []string) criconfig.Fields {
	if w.cur.Spec.HostNetwork {
		ips = w.a.ips()
	}
	return criconfig.Fields{PodIPs: ips, HostIPs: w.a.ips(), Allocatable: w.a.allocatable()}
}

func (w *worker) prepareVolumes() func(context.Context) func() {
	p := w.cur
	if w.a.Hollow || len(p.Spec.Volumes) == 0 {
		return func(context.Context) func() { return func() { w.obs.VolumesReady, w.obs.Volumes = true, nil } }
	}
	var ips []string
	if sb := w.obs.Current(); sb != nil {
		ips = sb.IPs
	}
	f := w.fields(ips)
	return func(ctx context.Context) func() {
		again, err := w.a.volumes.Prepare(ctx, p, f, func() { w.post(w.stale) })
		return func() {
			w.volumesAt = again
			if err == nil {
				w.obs.VolumesReady, w.obs.Volumes = true, nil
				w.remind(again)
				return
			}
			w.a.event(p, "", corev1.EventTypeWarning, "FailedMount", err.Error())
			w.obs.Volumes = w.failure(w.obs.Volumes, "FailedMount", err)
		}
	}
}

// remind makes volumes be written again at a time, for tokens that are to be renewed.
func (w *worker) remind(at time.Time) {
	if at.IsZero() {
		return
	}
	ctx := w.ending
	go func() {
		t := w.a.Clock.NewTimer(at.Sub(w.a.Clock.Now()))
		defer t.Stop()
		select {
		case <-ctx.Done():
		case <-t.C():
			w.post(func() {
				if w.volumesAt.Equal(at) {
					w.stale()
				}
			})
		}
	}()
}

// releaseVolumes takes down what the pod has on the node besides containers. Logs of a pod that stays in the API stay.
func (w *worker) releaseVolumes() func(context.Context) func() {
	p, whole := w.cur, w.obs.Gone || w.obs.Deleted
	return func(context.Context) func() {
		var err error
		if !w.a.Hollow {
			err = w.a.release(p, whole)
		}
		return func() {
			if err != nil {
				w.log.Warn("release volumes", "err", err)
				w.obs.Volumes = w.failure(w.obs.Volumes, "FailedUnmount", err)
				return
			}
			w.obs.VolumesReleased, w.obs.Cleared = true, whole
		}
	}
}

func (a *Agent) release(p *corev1.Pod, whole bool) error {
	err := a.volumes.Release(string(p.UID))
	if !whole {
		return err
	}
	return errors.Join(err,
		a.cgroups.Remove(a.cgroups.Parent(qos.GetPodQOS(p), string(p.UID))),
		os.RemoveAll(criconfig.LogDirectory(a.LogDir, p.Namespace, p.Name, string(p.UID))))
}

func (w *worker) stopSandbox(act pod.Action) func(context.Context) func() {
	ref := w.refs[act.ID]
	return func(ctx context.Context) func() {
		rt, err := w.a.runtimeOf(ref)
		if err == nil {
			_, err = rt.StopPodSandbox(ctx, &runtimeapi.StopPodSandboxRequest{PodSandboxId: act.ID})
		}
		return func() {
			if err != nil && status.Code(err) != codes.NotFound {
				w.log.Warn("stop sandbox", "sandbox", act.ID, "err", err)
				w.a.event(w.cur, "", corev1.EventTypeWarning, "FailedKillPod", "error killing pod: "+err.Error())
				w.obs.Sandbox = w.failure(w.obs.Sandbox, "FailedKillPod", err)
				return
			}
			w.obs.Sandbox = nil
			if sb := w.sandbox(act.ID); sb != nil {
				sb.Stopped, sb.Ready = true, false
			}
		}
	}
}

func (w *worker) remove(act pod.Action) func(context.Context) func() {
	ref := w.refs[act.ID]
	var log string
	if c := w.container(act.ID); c != nil && act.Verb == pod.RemoveContainer && !w.a.Hollow {
		dir := criconfig.LogDirectory(w.a.LogDir, w.cur.Namespace, w.cur.Name, string(w.uid))
		log = dir + "/" + criconfig.LogPath(c.Name, c.Attempt)
	}
	return func(ctx context.Context) func() {
		rt, err := w.a.runtimeOf(ref)
		if err == nil && act.Verb == pod.RemoveContainer {
			_, err = rt.RemoveContainer(ctx, &runtimeapi.RemoveContainerRequest{ContainerId: act.ID})
		} else if err == nil {
			_, err = rt.RemovePodSandbox(ctx, &runtimeapi.RemovePodSandboxRequest{PodSandboxId: act.ID})
		}
		if status.Code(err) == codes.NotFound {
			err = nil
		}
		if err == nil && log != "" {
			err = logs.Remove(log)
		}
		if err != nil {
			w.log.Warn("remove from runtime", "id", act.ID, "err", err)
			w.pause(ctx)
			return nil
		}
		return func() { w.drop(act.ID) }
	}
}

// pause holds an action that failed back for a moment before it may be planned again.
func (w *worker) pause(ctx context.Context) {
	t := w.a.Clock.NewTimer(retryAfter)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C():
	}
}

// replaced tells whether the API has another pod of the same name, or none.
func (w *worker) replaced(ctx context.Context, key client.ObjectKey) bool {
	var live corev1.Pod
	err := w.a.API.Get(ctx, key, &live)
	return apierrors.IsNotFound(err) || err == nil && live.UID != w.uid
}

// deletePod tells the API that the pod has ended. The API forgets it unless finalizers hold it.
func (w *worker) deletePod() func(context.Context) func() {
	key, uid := client.ObjectKeyFromObject(w.cur), w.uid
	return func(ctx context.Context) func() {
		obj := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
		err := w.a.API.Delete(ctx, obj, client.GracePeriodSeconds(0), client.Preconditions{UID: &uid})
		switch {
		case err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) && w.replaced(ctx, key):
			return func() { w.obs.Deleted = true }
		default:
			w.log.Warn("delete pod", "err", fmt.Errorf("delete pod %s: %w", key, err))
			w.pause(ctx)
			return nil
		}
	}
}
