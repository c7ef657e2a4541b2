package fake

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// A running container of the fake uses a hundredth of a core and 10 MiB.
const (
	nanoCores   = 10_000_000
	memoryBytes = 10 << 20
)

func (s *server) ContainerStats(ctx context.Context, in *runtimeapi.ContainerStatsRequest) (*runtimeapi.ContainerStatsResponse, error) {
	if err := s.enter(ctx, "ContainerStats"); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.containers[in.GetContainerId()]
	if !ok {
		return nil, status.Errorf(codes.NotFound, "no container %q", in.GetContainerId())
	}
	return &runtimeapi.ContainerStatsResponse{Stats: s.stats(c)}, nil
}

func (s *server) stats(c *container) *runtimeapi.ContainerStats {
	now := s.now()
	out := &runtimeapi.ContainerStats{Attributes: &runtimeapi.ContainerAttributes{
		Id: c.id, Metadata: c.config.GetMetadata(), Labels: c.config.GetLabels(), Annotations: c.config.GetAnnotations(),
	}}
	if c.state == runtimeapi.ContainerState_CONTAINER_RUNNING {
		out.Cpu, out.Memory = cpu(now, now-c.started, 1), memory(now, 1)
	}
	return out
}

func cpu(now, ran int64, n uint64) *runtimeapi.CpuUsage {
	return &runtimeapi.CpuUsage{
		Timestamp:            now,
		UsageNanoCores:       &runtimeapi.UInt64Value{Value: n * nanoCores},
		UsageCoreNanoSeconds: &runtimeapi.UInt64Value{Value: n * uint64(max(ran, 0)) / (1_000_000_000 / nanoCores)},
	}
}

func memory(now int64, n uint64) *runtimeapi.MemoryUsage {
	b := &runtimeapi.UInt64Value{Value: n * memoryBytes}
	return &runtimeapi.MemoryUsage{Timestamp: now, WorkingSetBytes: b, UsageBytes: b, RssBytes: b}
}

func (s *server) ListContainerStats(ctx context.Context, in *runtimeapi.ListContainerStatsRequest) (*runtimeapi.ListContainerStatsResponse, error) {
	if err := s.enter(ctx, "ListContainerStats"); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	out := &runtimeapi.ListContainerStatsResponse{}
	f := in.GetFilter()
	for _, c := range s.listContainers(&runtimeapi.ContainerFilter{
		Id: f.GetId(), PodSandboxId: f.GetPodSandboxId(), LabelSelector: f.GetLabelSelector(),
	}) {
		out.Stats = append(out.Stats, s.stats(s.containers[c.GetId()]))
	}
	return out, nil
}

func (s *server) PodSandboxStats(ctx context.Context, in *runtimeapi.PodSandboxStatsRequest) (*runtimeapi.PodSandboxStatsResponse, error) {
	if err := s.enter(ctx, "PodSandboxStats"); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	sb, ok := s.sandboxes[in.GetPodSandboxId()]
	if !ok {
		return nil, status.Errorf(codes.NotFound, "no sandbox %q", in.GetPodSandboxId())
	}
	return &runtimeapi.PodSandboxStatsResponse{Stats: s.sandboxStats(sb)}, nil
}

func (s *server) sandboxStats(sb *sandbox) *runtimeapi.PodSandboxStats {
	now := s.now()
	linux := &runtimeapi.LinuxPodSandboxStats{}
	var running uint64
	for _, c := range s.containers {
		if c.sandbox != sb.id {
			continue
		}
		linux.Containers = append(linux.Containers, s.stats(c))
		if c.state == runtimeapi.ContainerState_CONTAINER_RUNNING {
			running++
		}
	}
	linux.Cpu, linux.Memory = cpu(now, now-sb.created, running), memory(now, running)
	linux.Process = &runtimeapi.ProcessUsage{Timestamp: now, ProcessCount: &runtimeapi.UInt64Value{Value: running + 1}}
	return &runtimeapi.PodSandboxStats{
		Attributes: &runtimeapi.PodSandboxAttributes{
			Id: sb.id, Metadata: sb.config.GetMetadata(), Labels: sb.config.GetLabels(), Annotations: sb.config.GetAnnotations(),
		},
		Linux: linux,
	}
}

func (s *server) ListPodSandboxStats(ctx context.Context, in *runtimeapi.ListPodSandboxStatsRequest) (*runtimeapi.ListPodSandboxStatsResponse, error) {
	if err := s.enter(ctx, "ListPodSandboxStats"); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	out := &runtimeapi.ListPodSandboxStatsResponse{}
	f := in.GetFilter()
	for _, sb := range s.list(&runtimeapi.PodSandboxFilter{Id: f.GetId(), LabelSelector: f.GetLabelSelector()}) {
		out.Stats = append(out.Stats, s.sandboxStats(s.sandboxes[sb.GetId()]))
	}
	return out, nil
}
