package usage

import (
	"time"

	statsv1alpha1 "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
)

// counter is what one thing has used until a time.
type counter struct {
	at     time.Time
	cpu    uint64 // nanoseconds of one core, since it began
	memory uint64 // bytes in use, without what the kernel can take back at once
	start  time.Time
}

// sample is what an agent told at one time.
type sample struct {
	at   time.Time
	node *counter
	pods map[string]map[string]counter // by UID and name of the container
}

// Figure is what was used over a time.
type Figure struct {
	// At is the end of the time, Window its length.
	At     time.Time
	Window time.Duration
	// Nanocores is the CPU: 1e9 is one core.
	Nanocores int64
	// Memory is the working set at the end, in bytes.
	Memory int64
}

// Figures are those of a node and what runs on it.
type Figures struct {
	// Node is nil when it is not known.
	Node *Figure
	// Pods are by UID and name of the container. A pod of which not every container is known is not in it.
	Pods map[string]map[string]Figure
}

// shortest is the shortest time over which a rate means something.
const shortest = time.Second

// rates compares two samples of one node.
func rates(before, after *sample) *Figures {
	out := &Figures{Pods: map[string]map[string]Figure{}}
	if after.node != nil && before.node != nil {
		if f, ok := rate(*before.node, *after.node); ok {
			out.Node = &f
		}
	}
	for uid, containers := range after.pods {
		if figures, ok := podRates(before.pods[uid], containers); ok {
			out.Pods[uid] = figures
		}
	}
	return out
}

func podRates(before, after map[string]counter) (map[string]Figure, bool) {
	out := map[string]Figure{}
	for name, c := range after {
		base, had := before[name]
		switch {
		case had && base.cpu <= c.cpu:
		case c.start.IsZero() || had && c.start.Before(base.at):
			return nil, false // it began anew, and when is not known yet
		default:
			base = counter{at: c.start}
		}
		f, ok := rate(base, c)
		if !ok {
			return nil, false
		}
		out[name] = f
	}
	return out, len(out) > 0
}

func rate(before, after counter) (Figure, bool) {
	window := after.at.Sub(before.at)
	// Two samples are taken the shortest time apart, but the runtime may have measured a little earlier or later.
	if window < shortest/2 || after.cpu < before.cpu {
		return Figure{}, false
	}
	used := float64(after.cpu - before.cpu)
	return Figure{At: after.at, Window: window, Nanocores: int64(used / window.Seconds()), Memory: int64(after.memory)}, true
}

func newSample(sum *statsv1alpha1.Summary, at time.Time) *sample {
	s := &sample{at: at, pods: map[string]map[string]counter{}}
	if c, ok := newCounter(sum.Node.CPU, sum.Node.Memory, sum.Node.StartTime.Time); ok {
		s.node = &c
	}
	for i := range sum.Pods {
		p := &sum.Pods[i]
		containers := map[string]counter{}
		for j := range p.Containers {
			if c, ok := newCounter(p.Containers[j].CPU, p.Containers[j].Memory, p.Containers[j].StartTime.Time); ok {
				containers[p.Containers[j].Name] = c
			}
		}
		s.pods[p.PodRef.UID] = containers
	}
	return s
}

func newCounter(cpu *statsv1alpha1.CPUStats, memory *statsv1alpha1.MemoryStats, start time.Time) (counter, bool) {
	if cpu == nil || cpu.UsageCoreNanoSeconds == nil || memory == nil || memory.WorkingSetBytes == nil {
		return counter{}, false
	}
	return counter{at: cpu.Time.Time, cpu: *cpu.UsageCoreNanoSeconds, memory: *memory.WorkingSetBytes, start: start}, true
}
