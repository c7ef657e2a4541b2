package agent

import (
	"context"
	"sort"
	"time"

	corev1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	statsv1alpha1 "k8s.io/kubelet/pkg/apis/stats/v1alpha1"

	"github.com/gantryio/gantry/core/agent/evict"
	"github.com/gantryio/gantry/core/agent/pod"
	"github.com/gantryio/gantry/core/agent/stats"
)

const (
	// pressurePeriod is how often memory and disks are measured: the kernel does not tell when they run out.
	pressurePeriod = 10 * time.Second
	// pressureHold is how long a node says that it is under pressure after it was last seen so.
	pressureHold = 5 * time.Minute
)

// strain is when the node was last seen short of something. It belongs to the housekeeping goroutine.
type strain struct{ memory, disk time.Time }

// relieve measures the node, removes images that nobody uses when their disk is full, and evicts one pod when the node is
// short of something.
func (a *Agent) relieve(ctx context.Context, s *strain) {
	now := a.Clock.Now()
	signals, images := a.measure(ctx)
	if images.UsedAbove(evict.ImagesHighPercent) {
		a.collectImages(ctx, images)
		signals, _ = a.measure(ctx)
	}
	p := evict.Find(signals)
	if p != nil && p.Resource == corev1.ResourceMemory {
		s.memory = now
	} else if p != nil {
		s.disk = now
	}
	a.press(!s.memory.IsZero() && now.Sub(s.memory) < pressureHold, !s.disk.IsZero() && now.Sub(s.disk) < pressureHold)
	if p == nil {
		return
	}
	a.Log.Warn("node is under pressure", "resource", p.Resource, "message", p.Message)
	a.evictOne(ctx, p)
}

// press tells the Node's conditions.
func (a *Agent) press(memory, disk bool) {
	a.mu.Lock()
	changed := a.pressure.MemoryPressure != memory || a.pressure.DiskPressure != disk
	a.pressure.MemoryPressure, a.pressure.DiskPressure = memory, disk
	a.mu.Unlock()
	if changed {
		a.registrar.Wake()
	}
}

func (a *Agent) measure(ctx context.Context) (evict.Signals, evict.Filesystem) {
	var out evict.Signals
	if _, available, ok := stats.Memory(); ok {
		out.MemoryAvailable = available
	}
	out.Node = filesystem(stats.FileSystem(a.KubeletDir, a.Clock.Now()))
	if all := a.Runtimes.Instances(); len(all) > 0 {
		if r := imageFileSystem(ctx, all[0]); r != nil {
			out.Image = filesystem(r.ImageFs)
		}
	}
	return out, out.Image
}

func filesystem(f *statsv1alpha1.FsStats) evict.Filesystem {
	if f == nil {
		return evict.Filesystem{}
	}
	return evict.Filesystem{Capacity: *f.CapacityBytes, Available: *f.AvailableBytes, Inodes: *f.Inodes, InodesFree: *f.InodesFree}
}

// evictOne evicts the pod that ranks first and that does not end already.
func (a *Agent) evictOne(ctx context.Context, p *evict.Pressure) {
	sum, err := a.Stats(ctx)
	if err != nil {
		a.Log.Warn("rank pods for eviction", "err", err)
		return
	}
	used := map[string]int64{}
	for i := range sum.Pods {
		used[sum.Pods[i].PodRef.UID] = usage(&sum.Pods[i], p.Resource)
	}
	all := a.snapshot()
	candidates := make([]evict.Candidate, 0, len(all))
	for uid, w := range all {
		live := w.pod.Load()
		// As with the kubelet, static pods are critical.
		if !w.isStatic && live.DeletionTimestamp == nil && live.Status.Phase != corev1.PodSucceeded && live.Status.Phase != corev1.PodFailed {
			candidates = append(candidates, evict.Candidate{Pod: live, Used: used[string(uid)]})
		}
	}
	ranked := evict.Rank(p.Resource, candidates)
	if len(ranked) == 0 {
		return
	}
	w, grace := all[ranked[0].Pod.UID], int64(0)
	v := &pod.Verdict{Reason: "Evicted", Message: p.Message, Grace: &grace, Disruption: corev1.PodReasonTerminationByKubelet}
	w.post(func() {
		if w.obs.Verdict == nil {
			w.obs.Verdict = v
			w.a.event(w.cur, "", corev1.EventTypeWarning, v.Reason, v.Message)
		}
	})
}

func usage(p *statsv1alpha1.PodStats, name corev1.ResourceName) int64 {
	if name == corev1.ResourceMemory {
		if p.Memory != nil && p.Memory.WorkingSetBytes != nil {
			return int64(*p.Memory.WorkingSetBytes)
		}
		return 0
	}
	var sum int64
	for i := range p.Containers {
		if fs := p.Containers[i].Rootfs; fs != nil && fs.UsedBytes != nil {
			sum += int64(*fs.UsedBytes)
		}
	}
	return sum
}

// collectImages removes images that no container uses, the biggest first, until the disk is empty enough.
func (a *Agent) collectImages(ctx context.Context, fs evict.Filesystem) {
	target := fs.Capacity * (100 - evict.ImagesLowPercent) / 100
	for _, i := range a.Runtimes.Instances() {
		unused, err := unusedImages(ctx, i)
		if err != nil {
			a.Log.Warn("list images to collect", "plugin", i.Plugin, "err", err)
			continue
		}
		for _, img := range unused {
			if fs.Available >= target {
				return
			}
			if _, err := i.Runtime.RemoveImage(ctx, &runtimeapi.RemoveImageRequest{Image: &runtimeapi.ImageSpec{Image: img.GetId()}}); err != nil {
				a.Log.Warn("remove image", "image", img.GetId(), "err", err)
				continue
			}
			a.Log.Info("removed unused image", "image", img.GetId(), "names", img.GetRepoTags())
			fs.Available += img.GetSize()
		}
	}
}

func unusedImages(ctx context.Context, i Instance) ([]*runtimeapi.Image, error) {
	images, err := i.Runtime.ListImages(ctx, &runtimeapi.ListImagesRequest{})
	if err != nil {
		return nil, err
	}
	containers, err := i.Runtime.ListContainers(ctx, &runtimeapi.ListContainersRequest{})
	if err != nil {
		return nil, err
	}
	used := map[string]bool{}
	for _, c := range containers.GetContainers() {
		used[c.GetImageRef()], used[c.GetImageId()], used[c.GetImage().GetImage()] = true, true, true
	}
	var out []*runtimeapi.Image
	for _, img := range images.GetImages() {
		if !img.GetPinned() && !used[img.GetId()] && !usesAny(used, img.GetRepoTags()) && !usesAny(used, img.GetRepoDigests()) {
			out = append(out, img)
		}
	}
	sort.SliceStable(out, func(x, y int) bool { return out[x].GetSize() > out[y].GetSize() })
	return out, nil
}

func usesAny(used map[string]bool, names []string) bool {
	for _, n := range names {
		if used[n] {
			return true
		}
	}
	return false
}
