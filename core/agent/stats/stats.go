// Package stats turns what runtimes and the kernel count into the kubelet's stats summary.
package stats

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	statsv1alpha1 "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
)

// Pod turns a sandbox's stats into a pod's. The pod tells when what is measured began; it may be nil, and its status may
// be behind.
func Pod(s *runtimeapi.PodSandboxStats, pod *corev1.Pod) statsv1alpha1.PodStats {
	m := s.GetAttributes().GetMetadata()
	l := s.GetLinux()
	out := statsv1alpha1.PodStats{
		PodRef:    statsv1alpha1.PodReference{Name: m.GetName(), Namespace: m.GetNamespace(), UID: m.GetUid()},
		StartTime: podStart(pod), CPU: cpu(l.GetCpu()), Memory: memory(l.GetMemory()),
		Containers: []statsv1alpha1.ContainerStats{},
	}
	if p := l.GetProcess().GetProcessCount(); p != nil {
		out.ProcessStats = &statsv1alpha1.ProcessStats{ProcessCount: value(p)}
	}
	if n := l.GetNetwork(); n != nil {
		out.Network = &statsv1alpha1.NetworkStats{Time: nanos(n.GetTimestamp()), InterfaceStats: iface(n.GetDefaultInterface())}
		for _, i := range n.GetInterfaces() {
			out.Network.Interfaces = append(out.Network.Interfaces, iface(i))
		}
	}
	for _, c := range l.GetContainers() {
		if c.GetCpu() == nil && c.GetMemory() == nil {
			continue
		}
		name := c.GetAttributes().GetMetadata().GetName()
		out.Containers = append(out.Containers, statsv1alpha1.ContainerStats{
			Name: name, StartTime: containerStart(pod, name),
			CPU: cpu(c.GetCpu()), Memory: memory(c.GetMemory()), Rootfs: layer(c.GetWritableLayer()),
		})
	}
	return out
}

func podStart(pod *corev1.Pod) metav1.Time {
	if pod == nil || pod.Status.StartTime == nil {
		return metav1.Time{}
	}
	return *pod.Status.StartTime
}

// containerStart is when a running container started, zero when that is not known.
func containerStart(pod *corev1.Pod, name string) metav1.Time {
	if pod == nil {
		return metav1.Time{}
	}
	for _, list := range [][]corev1.ContainerStatus{pod.Status.ContainerStatuses, pod.Status.InitContainerStatuses, pod.Status.EphemeralContainerStatuses} {
		for i := range list {
			if run := list[i].State.Running; list[i].Name == name && run != nil {
				return run.StartedAt
			}
		}
	}
	return metav1.Time{}
}

func nanos(n int64) metav1.Time { return metav1.NewTime(time.Unix(0, n)) }

func value(v *runtimeapi.UInt64Value) *uint64 {
	if v == nil {
		return nil
	}
	n := v.GetValue()
	return &n
}

func cpu(c *runtimeapi.CpuUsage) *statsv1alpha1.CPUStats {
	if c == nil {
		return nil
	}
	return &statsv1alpha1.CPUStats{
		Time: nanos(c.GetTimestamp()), UsageCoreNanoSeconds: value(c.GetUsageCoreNanoSeconds()), UsageNanoCores: value(c.GetUsageNanoCores()),
	}
}

func memory(m *runtimeapi.MemoryUsage) *statsv1alpha1.MemoryStats {
	if m == nil {
		return nil
	}
	return &statsv1alpha1.MemoryStats{
		Time: nanos(m.GetTimestamp()), WorkingSetBytes: value(m.GetWorkingSetBytes()), AvailableBytes: value(m.GetAvailableBytes()),
		UsageBytes: value(m.GetUsageBytes()), RSSBytes: value(m.GetRssBytes()), PageFaults: value(m.GetPageFaults()),
		MajorPageFaults: value(m.GetMajorPageFaults()),
	}
}

func iface(i *runtimeapi.NetworkInterfaceUsage) statsv1alpha1.InterfaceStats {
	return statsv1alpha1.InterfaceStats{
		Name: i.GetName(), RxBytes: value(i.GetRxBytes()), RxErrors: value(i.GetRxErrors()),
		TxBytes: value(i.GetTxBytes()), TxErrors: value(i.GetTxErrors()),
	}
}

func layer(f *runtimeapi.FilesystemUsage) *statsv1alpha1.FsStats {
	if f == nil {
		return nil
	}
	return &statsv1alpha1.FsStats{Time: nanos(f.GetTimestamp()), UsedBytes: value(f.GetUsedBytes()), InodesUsed: value(f.GetInodesUsed())}
}

// FileSystem measures the file system that holds a path, or returns nil.
func FileSystem(path string, now time.Time) *statsv1alpha1.FsStats {
	var st unix.Statfs_t
	for ; ; path = filepath.Dir(path) {
		if unix.Statfs(path, &st) == nil {
			break
		}
		if path == "/" || path == "." || path == "" {
			return nil
		}
	}
	size := uint64(st.Bsize)
	capacity, available := st.Blocks*size, st.Bavail*size
	used := (st.Blocks - st.Bfree) * size
	inodes, free := st.Files, st.Ffree
	inodesUsed := inodes - free
	return &statsv1alpha1.FsStats{
		Time: metav1.NewTime(now), CapacityBytes: &capacity, AvailableBytes: &available, UsedBytes: &used,
		Inodes: &inodes, InodesFree: &free, InodesUsed: &inodesUsed,
	}
}

// Node measures the machine.
func Node(name, dir string, now time.Time) statsv1alpha1.NodeStats {
	out := statsv1alpha1.NodeStats{NodeName: name, Fs: FileSystem(dir, now)}
	if ns, ok := CPUTime(); ok {
		out.CPU = &statsv1alpha1.CPUStats{Time: metav1.NewTime(now), UsageCoreNanoSeconds: &ns}
	}
	if total, available, ok := Memory(); ok {
		used := total - available
		out.Memory = &statsv1alpha1.MemoryStats{Time: metav1.NewTime(now), AvailableBytes: &available, WorkingSetBytes: &used, UsageBytes: &used}
	}
	return out
}

// CPUTime is how many nanoseconds the machine's processors have worked.
func CPUTime() (uint64, bool) {
	raw, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, false
	}
	line, _, _ := strings.Cut(string(raw), "\n")
	f := strings.Fields(line)
	if len(f) < 9 || f[0] != "cpu" {
		return 0, false
	}
	var ticks uint64
	for i, s := range f[1:9] {
		if n, err := strconv.ParseUint(s, 10, 64); err == nil && i != 3 && i != 4 {
			ticks += n
		}
	}
	const nanosPerTick = uint64(time.Second) / 100
	return ticks * nanosPerTick, true
}

// Memory is the machine's memory and what of it is available, in bytes.
func Memory() (total, available uint64, ok bool) {
	raw, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, 0, false
	}
	for _, line := range strings.Split(string(raw), "\n") {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		n, _ := strconv.ParseUint(f[1], 10, 64)
		switch f[0] {
		case "MemTotal:":
			total = n << 10
		case "MemAvailable:":
			available = n << 10
		}
	}
	return total, available, total > 0
}
