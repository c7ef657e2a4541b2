package agent

import (
	"context"
	"os"
	"path/filepath"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/gantryio/gantry/core/agent/criconfig"
	"github.com/gantryio/gantry/core/agent/logs"
)

// Logs are rotated as the kubelet does by default.
const (
	logPeriod   = time.Minute
	logMaxSize  = 10 << 20
	logMaxFiles = 5
)

// keepHouse rotates logs and relieves pressure from time to time.
func (a *Agent) keepHouse(ctx context.Context) error {
	logTick := a.Clock.NewTicker(logPeriod)
	defer logTick.Stop()
	pressureTick := a.Clock.NewTicker(pressurePeriod)
	defer pressureTick.Stop()
	var s strain
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-logTick.C():
			a.rotateLogs(ctx)
		case <-pressureTick.C():
			if !a.NoEviction {
				a.relieve(ctx, &s)
			}
		}
	}
}

// rotateLogs rotates the logs of running containers that have grown too big.
func (a *Agent) rotateLogs(ctx context.Context) {
	r := logs.Rotation{MaxSize: logMaxSize, MaxFiles: logMaxFiles}
	for _, i := range a.Runtimes.Instances() {
		running := &runtimeapi.ContainerStateValue{State: runtimeapi.ContainerState_CONTAINER_RUNNING}
		list, err := i.Runtime.ListContainers(ctx, &runtimeapi.ListContainersRequest{Filter: &runtimeapi.ContainerFilter{State: running}})
		if err != nil {
			a.Log.Warn("list containers to rotate logs", "plugin", i.Plugin, "err", err)
			continue
		}
		for _, c := range list.GetContainers() {
			ns, name, uid := criconfig.PodOf(c.GetLabels())
			path := filepath.Join(criconfig.LogDirectory(a.LogDir, ns, name, uid),
				criconfig.LogPath(c.GetMetadata().GetName(), c.GetMetadata().GetAttempt()))
			_, err := r.Rotate(ctx, path, a.Clock.Now(), func(ctx context.Context) error {
				_, err := i.Runtime.ReopenContainerLog(ctx, &runtimeapi.ReopenContainerLogRequest{ContainerId: c.GetId()})
				return err
			})
			if err != nil {
				a.Log.Warn("rotate log", "path", path, "err", err)
			}
		}
	}
}

// clearLogs removes log directories of pods that are gone.
func (a *Agent) clearLogs(alive func(uid string) bool) {
	entries, _ := os.ReadDir(a.LogDir)
	for _, e := range entries {
		uid, ok := podOfLogDirectory(e.Name())
		if !ok || alive(uid) {
			continue
		}
		if err := os.RemoveAll(filepath.Join(a.LogDir, e.Name())); err != nil {
			a.Log.Warn("clear logs of a pod that is gone", "uid", uid, "err", err)
		}
	}
}
