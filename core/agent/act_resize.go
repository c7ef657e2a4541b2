package agent

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	corev1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/kubectl/pkg/util/qos"

	"github.com/gantryio/gantry/core/agent/cgroup"
	"github.com/gantryio/gantry/core/agent/criconfig"
	"github.com/gantryio/gantry/core/agent/pod"
	"github.com/gantryio/gantry/interfaces/runtime"
)

// resizePod writes down what was granted, and gives it to the pod's cgroup and to the containers that run.
func (w *worker) resizePod() func(context.Context) func() {
	granted, p := w.granted.Load(), w.sized()
	updates := pod.Updates(p, w.obs)
	r := resizing{a: w.a, pod: p, given: map[string]pod.Size{}}
	sb := w.obs.Current()
	var ref Ref
	if sb != nil {
		r.updates, r.sandbox, ref = updates, sb.ID, w.refs[sb.ID]
	}
	record := w.record()
	return func(ctx context.Context) func() {
		err := w.a.note(w.uid, record)
		if err == nil && sb != nil {
			if r.runtime, err = w.a.runtimeOf(ref); err == nil {
				err = r.run(ctx)
			}
		}
		return func() {
			for id, size := range r.given {
				w.given[id], w.dirty[id] = size, true
				if c := w.container(id); c != nil {
					c.Size = size
				}
			}
			if err != nil {
				w.resizeFailed(p, err)
				return
			}
			w.obs.Resize.Failure = nil
			if w.granted.Load() == granted {
				w.obs.Resize.Outdated, w.obs.Resize.Before = false, nil
			}
			if err := w.a.note(w.uid, w.record()); err != nil {
				w.log.Warn("note a pod's size", "err", err)
			}
		}
	}
}

func (w *worker) resizeFailed(p *corev1.Pod, err error) {
	w.log.Warn("resize pod", "err", err)
	text := errors.New(message(err))
	if w.obs.Resize.Failure == nil {
		w.tellResize(p, corev1.EventTypeWarning, "ResizeError", "Pod resize error", w.obs.Resize.Generation, text.Error())
	}
	w.obs.Resize.Failure = w.failure(w.obs.Resize.Failure, corev1.PodReasonError, text)
}

// resizing gives a pod another size. Memory comes before cpu; the pod's own cgroup first where it grows, and last where it
// shrinks, for the kernel lets no cgroup have more than the one that it is in.
type resizing struct {
	a       *Agent
	pod     *corev1.Pod
	sandbox string
	runtime runtime.Runtime
	updates []pod.Update
	// given collects what containers have got, also when something fails later.
	given map[string]pod.Size
	// current is what the pod's cgroup has.
	current *runtimeapi.LinuxContainerResources
}

func (r *resizing) run(ctx context.Context) error {
	if r.a.Hollow {
		return errors.Join(r.containers(ctx, corev1.ResourceMemory), r.containers(ctx, corev1.ResourceCPU))
	}
	path := r.a.cgroups.Parent(qos.GetPodQOS(r.pod), string(r.pod.UID))
	want := criconfig.PodResources(r.pod)
	have, err := r.a.cgroups.Read(path)
	if err != nil {
		return err
	}
	r.current = limits(have, want.CpuPeriod)
	if err := r.checkMemory(ctx, path, have, want); err != nil {
		return err
	}
	err = r.resource(ctx, path, corev1.ResourceMemory, want, change{cgroup.Memory, have.Memory, want.MemoryLimitInBytes})
	if err != nil {
		return err
	}
	return r.resource(ctx, path, corev1.ResourceCPU, want,
		change{cgroup.CPULimit, have.CPUQuota, want.CpuQuota}, change{cgroup.CPURequest, have.CPUShares, want.CpuShares})
}

// change is one of a pod's own cgroup; a limit of 0 is none that is wanted.
type change struct {
	part cgroup.Part
	have int64
	want int64
}

// resource brings one resource to its new size. Of a pod that grows the limit comes before the request, and the other way round.
func (r *resizing) resource(ctx context.Context, path string, name corev1.ResourceName, want *runtimeapi.LinuxContainerResources, changes ...change) error {
	for _, c := range changes {
		if c.want > c.have {
			if err := r.set(ctx, path, c.part, want); err != nil {
				return err
			}
		}
	}
	if err := r.containers(ctx, name); err != nil {
		return err
	}
	for i := len(changes) - 1; i >= 0; i-- {
		if c := changes[i]; c.want != 0 && c.want < c.have {
			if err := r.set(ctx, path, c.part, want); err != nil {
				return err
			}
		}
	}
	return nil
}

// set changes the pod's own cgroup, when the runtime, which is told first, has nothing against it.
func (r *resizing) set(ctx context.Context, path string, part cgroup.Part, want *runtimeapi.LinuxContainerResources) error {
	next := proto.Clone(r.current).(*runtimeapi.LinuxContainerResources)
	switch part {
	case cgroup.CPURequest:
		next.CpuShares = want.CpuShares
	case cgroup.CPULimit:
		next.CpuQuota, next.CpuPeriod = want.CpuQuota, want.CpuPeriod
	case cgroup.Memory:
		next.MemoryLimitInBytes = want.MemoryLimitInBytes
	}
	_, err := r.runtime.UpdatePodSandboxResources(ctx, &runtimeapi.UpdatePodSandboxResourcesRequest{
		PodSandboxId: r.sandbox, Resources: next, Overhead: &runtimeapi.LinuxContainerResources{},
	})
	if err != nil && status.Code(err) != codes.Unimplemented { // as of runtimes before CRI had it
		return fmt.Errorf("tell the runtime of the pod's resources: %w", err)
	}
	if err := r.a.cgroups.Set(path, part, want); err != nil {
		return err
	}
	r.current = next
	return nil
}

// limits are what a cgroup has, as CRI puts it.
func limits(have cgroup.Limits, period int64) *runtimeapi.LinuxContainerResources {
	out := &runtimeapi.LinuxContainerResources{CpuShares: have.CPUShares, CpuPeriod: period}
	if have.CPUQuota != cgroup.NoLimit {
		out.CpuQuota = have.CPUQuota
	}
	if have.Memory != cgroup.NoLimit {
		out.MemoryLimitInBytes = have.Memory
	}
	return out
}

// containers gives one resource to those that run.
func (r *resizing) containers(ctx context.Context, name corev1.ResourceName) error {
	for _, u := range pod.Ordered(r.updates, name) {
		c := criconfig.Find(r.pod, u.Name)
		if c == nil {
			continue
		}
		now := u.From
		if given, ok := r.given[u.ID]; ok {
			now = given
		}
		now = now.With(name, u.To)
		sized := *c
		sized.Resources = now.Resources()
		_, err := r.runtime.UpdateContainerResources(ctx, &runtimeapi.UpdateContainerResourcesRequest{
			ContainerId: u.ID, Linux: criconfig.Resources(r.pod, &sized, r.a.machineLimits()),
		})
		if err != nil {
			return err
		}
		r.given[u.ID] = now
	}
	return nil
}

// checkMemory refuses limits below what is used: the kernel would end processes, or refuse half way.
func (r *resizing) checkMemory(ctx context.Context, path string, have cgroup.Limits, want *runtimeapi.LinuxContainerResources) error {
	var errs []error
	if limit := want.MemoryLimitInBytes; limit != 0 && limit < have.Memory {
		used, err := r.a.cgroups.MemoryUsage(path)
		if err != nil {
			return fmt.Errorf("unable to read memory usage for pod %q: %w", r.pod.Name, err)
		}
		if used >= limit {
			errs = append(errs, fmt.Errorf("attempting to set pod memory limit (%d) below current usage (%d)", limit, used))
		}
	}
	for _, u := range r.updates {
		if limit := u.To.MemoryLimit; limit == 0 || u.From.MemoryLimit != 0 && limit >= u.From.MemoryLimit {
			continue
		}
		stats, err := r.runtime.ContainerStats(ctx, &runtimeapi.ContainerStatsRequest{ContainerId: u.ID})
		used := stats.GetStats().GetMemory().GetUsageBytes()
		switch {
		case err != nil || used == nil:
			errs = append(errs, fmt.Errorf("missing container %q memory usage", u.Name))
		case int64(used.GetValue()) >= u.To.MemoryLimit:
			errs = append(errs, fmt.Errorf("attempting to set container %q memory limit (%d) below current usage (%d)", u.Name, u.To.MemoryLimit, used.GetValue()))
		}
	}
	if len(errs) > 0 {
		return fmt.Errorf("cannot decrease memory limits: %w", errors.Join(errs...))
	}
	return nil
}
