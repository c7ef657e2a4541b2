package criconfig

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	resourcehelper "k8s.io/component-helpers/resource"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/kubectl/pkg/util/qos"

	"github.com/gantryio/gantry/core/agent/pod"
)

const (
	minShares  = 2
	maxShares  = 262144
	cpuPeriod  = 100000
	minQuota   = 1000
	guaranteed = -997
	bestEffort = 1000
)

// Shares turns milli-CPUs into cgroup v1 cpu.shares; runtimes turn these into v2 weights.
func Shares(milli int64) int64 {
	if milli == 0 {
		return minShares
	}
	return min(maxShares, max(minShares, milli*1024/1000))
}

// Quota turns milli-CPUs into microseconds of CPU in a period of 100 ms; 0 means no limit.
func Quota(milli int64) int64 {
	if milli == 0 {
		return 0
	}
	return max(minQuota, milli*cpuPeriod/1000)
}

// Machine is what limits depend on besides the pod.
type Machine struct {
	MemoryBytes int64
	// CgroupV2 enables what only the unified hierarchy can do.
	CgroupV2    bool
	Allocatable corev1.ResourceList
}

// Resources makes the cgroup limits of one container.
func Resources(pod *corev1.Pod, c *corev1.Container, m Machine) *runtimeapi.LinuxContainerResources {
	limits, requests := c.Resources.Limits, c.Resources.Requests
	cpuRequest, hasRequest := requests[corev1.ResourceCPU]
	cpuLimit := limits[corev1.ResourceCPU]
	if !hasRequest && !cpuLimit.IsZero() {
		cpuRequest = cpuLimit
	}
	memory := limits[corev1.ResourceMemory]
	if pod.Spec.Resources != nil {
		if cpuLimit.IsZero() {
			cpuLimit = pod.Spec.Resources.Limits[corev1.ResourceCPU]
		}
		if memory.IsZero() {
			memory = pod.Spec.Resources.Limits[corev1.ResourceMemory]
		}
	}
	r := &runtimeapi.LinuxContainerResources{
		CpuShares: Shares(cpuRequest.MilliValue()), CpuQuota: Quota(cpuLimit.MilliValue()), CpuPeriod: cpuPeriod,
		MemoryLimitInBytes: memory.Value(), OomScoreAdj: OOMScore(pod, c, m.MemoryBytes),
		HugepageLimits: hugepages(limits),
	}
	if m.CgroupV2 {
		r.Unified = map[string]string{"memory.oom.group": "1"}
	}
	return r
}

// OOMScore is the oom_score_adj of a container by the pod's QoS class, see the node-pressure eviction docs.
func OOMScore(pod *corev1.Pod, c *corev1.Container, memory int64) int64 {
	if critical(pod) {
		return guaranteed
	}
	switch qos.GetPodQOS(pod) {
	case corev1.PodQOSGuaranteed:
		return guaranteed
	case corev1.PodQOSBestEffort:
		return bestEffort
	}
	if memory <= 0 {
		return 999
	}
	q := c.Resources.Requests[corev1.ResourceMemory]
	adj := 1000 - 1000*q.Value()/memory
	if adj < 1000+guaranteed {
		return 1000 + guaranteed
	}
	return min(adj, 999)
}

func critical(pod *corev1.Pod) bool {
	return pod.Spec.Priority != nil && *pod.Spec.Priority >= 2000000000
}

func hugepages(limits corev1.ResourceList) []*runtimeapi.HugepageLimit {
	var out []*runtimeapi.HugepageLimit
	for name, q := range limits {
		size, ok := strings.CutPrefix(string(name), corev1.ResourceHugePagesPrefix)
		if !ok {
			continue
		}
		out = append(out, &runtimeapi.HugepageLimit{PageSize: cgroupPageSize(size), Limit: uint64(q.Value())})
	}
	return out
}

// cgroupPageSize turns 2Mi into 2MB, the name that the kernel's files have.
func cgroupPageSize(size string) string {
	q, err := resource.ParseQuantity(size)
	if err != nil {
		return size
	}
	switch v := q.Value(); {
	case v >= 1<<30 && v%(1<<30) == 0:
		return itoa(v>>30) + "GB"
	case v >= 1<<20 && v%(1<<20) == 0:
		return itoa(v>>20) + "MB"
	default:
		return itoa(v>>10) + "KB"
	}
}

// PodResources are the limits of the pod's own cgroup. A limit is set only when every container has one or the pod
// sets it itself.
func PodResources(pod *corev1.Pod) *runtimeapi.LinuxContainerResources {
	opts := resourcehelper.PodResourcesOptions{}
	requests, limits := resourcehelper.PodRequests(pod, opts), resourcehelper.PodLimits(pod, opts)
	cpuRequest, cpuLimit := requests[corev1.ResourceCPU], limits[corev1.ResourceCPU]
	r := &runtimeapi.LinuxContainerResources{CpuShares: Shares(cpuRequest.MilliValue()), CpuPeriod: cpuPeriod}
	if limited(pod, corev1.ResourceCPU) {
		r.CpuQuota = Quota(cpuLimit.MilliValue())
	}
	if memory := limits[corev1.ResourceMemory]; limited(pod, corev1.ResourceMemory) {
		r.MemoryLimitInBytes = memory.Value()
	}
	r.HugepageLimits = hugepages(limits)
	return r
}

func limited(pod *corev1.Pod, name corev1.ResourceName) bool {
	if pod.Spec.Resources != nil {
		if q, ok := pod.Spec.Resources.Limits[name]; ok && !q.IsZero() {
			return true
		}
	}
	for _, list := range [][]corev1.Container{pod.Spec.Containers, pod.Spec.InitContainers} {
		for i := range list {
			if q, ok := list[i].Resources.Limits[name]; !ok || q.IsZero() {
				return false
			}
		}
	}
	return true
}

// ActualSize reads what a runtime says that a container has; nil when it does not tell. How much memory was asked for cannot be
// told by a cgroup.
func ActualSize(r *runtimeapi.LinuxContainerResources) *pod.Size {
	if r == nil {
		return nil
	}
	out := &pod.Size{MemoryLimit: max(0, r.GetMemoryLimitInBytes())}
	if shares := r.GetCpuShares(); shares > 0 {
		out.CPURequest = (shares*1000 + 1023) / 1024
	}
	if quota, period := r.GetCpuQuota(), r.GetCpuPeriod(); quota > 0 && period > 0 {
		out.CPULimit = quota * 1000 / period
	}
	return out
}
