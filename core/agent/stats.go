package agent

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	statsv1alpha1 "k8s.io/kubelet/pkg/apis/stats/v1alpha1"

	"github.com/gantryio/gantry/core/agent/stats"
)

// Stats implements stream.Pods.
func (a *Agent) Stats(ctx context.Context) (*statsv1alpha1.Summary, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	out := &statsv1alpha1.Summary{Node: stats.Node(a.NodeName, a.KubeletDir, a.Clock.Now()), Pods: []statsv1alpha1.PodStats{}}
	for n, i := range a.Runtimes.Instances() {
		list, err := i.Runtime.ListPodSandboxStats(ctx, &runtimeapi.ListPodSandboxStatsRequest{})
		if err != nil {
			a.Log.Warn("list stats", "plugin", i.Plugin, "err", err)
			continue
		}
		for _, s := range list.GetStats() {
			out.Pods = append(out.Pods, stats.Pod(s, a.podOf(s)))
		}
		if n == 0 {
			out.Node.Runtime = imageFileSystem(ctx, i)
		}
	}
	return out, nil
}

// podOf finds the pod of a sandbox; nil when it is none of the agent's.
func (a *Agent) podOf(s *runtimeapi.PodSandboxStats) *corev1.Pod {
	for _, w := range a.snapshot() {
		if string(w.uid) == s.GetAttributes().GetMetadata().GetUid() {
			return w.pod.Load()
		}
	}
	return nil
}

func imageFileSystem(ctx context.Context, i Instance) *statsv1alpha1.RuntimeStats {
	info, err := i.Runtime.ImageFsInfo(ctx, &runtimeapi.ImageFsInfoRequest{})
	if err != nil || len(info.GetImageFilesystems()) == 0 {
		return nil
	}
	fs := info.GetImageFilesystems()[0]
	out := stats.FileSystem(fs.GetFsId().GetMountpoint(), time.Unix(0, fs.GetTimestamp()))
	if out == nil {
		return nil
	}
	used := fs.GetUsedBytes().GetValue()
	out.UsedBytes = &used
	return &statsv1alpha1.RuntimeStats{ImageFs: out}
}
