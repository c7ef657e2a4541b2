package fake

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

type container struct {
	id, sandbox, name          string
	config                     *runtimeapi.ContainerConfig
	logPath                    string
	imageRef                   string
	state                      runtimeapi.ContainerState
	created, started, finished int64
	code                       int32
	reason                     string
}

func (s *server) CreateContainer(ctx context.Context, in *runtimeapi.CreateContainerRequest) (*runtimeapi.CreateContainerResponse, error) {
	if err := s.enter(ctx, "CreateContainer"); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	sb, ok := s.sandboxes[in.GetPodSandboxId()]
	if !ok {
		return nil, status.Errorf(codes.NotFound, "no sandbox %q", in.GetPodSandboxId())
	}
	if sb.state != runtimeapi.PodSandboxState_SANDBOX_READY {
		return nil, status.Errorf(codes.FailedPrecondition, "sandbox %q is not ready", sb.id)
	}
	img := s.image(in.GetConfig().GetImage().GetImage())
	if img == nil {
		return nil, status.Errorf(codes.NotFound, "image %q not found", in.GetConfig().GetImage().GetImage())
	}
	m := in.GetConfig().GetMetadata()
	name := fmt.Sprintf("%s_%s_%d", m.GetName(), sb.id, m.GetAttempt())
	for _, other := range s.containers {
		if other.name == name {
			return nil, status.Errorf(codes.AlreadyExists, "container name %q is reserved for %q", name, other.id)
		}
	}
	c := &container{
		id: s.newID(), sandbox: sb.id, name: name, config: in.GetConfig(), imageRef: img.GetId(),
		state: runtimeapi.ContainerState_CONTAINER_CREATED, created: s.now(),
	}
	if dir, file := sb.config.GetLogDirectory(), in.GetConfig().GetLogPath(); dir != "" && file != "" {
		c.logPath = filepath.Join(dir, file)
	}
	s.containers[c.id] = c
	s.publish(sb, c.id, runtimeapi.ContainerEventType_CONTAINER_CREATED_EVENT)
	return &runtimeapi.CreateContainerResponse{ContainerId: c.id}, nil
}

func (s *server) StartContainer(ctx context.Context, in *runtimeapi.StartContainerRequest) (*runtimeapi.StartContainerResponse, error) {
	if err := s.enter(ctx, "StartContainer"); err != nil {
		return nil, err
	}
	c, err := s.start(in.GetContainerId())
	if err != nil {
		return nil, err
	}
	if s.options.Started != nil {
		s.options.Started(s.owner, c.id, c.config)
	}
	return &runtimeapi.StartContainerResponse{}, nil
}

func (s *server) start(id string) (*container, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.containers[id]
	if !ok {
		return nil, status.Errorf(codes.NotFound, "no container %q", id)
	}
	if c.state != runtimeapi.ContainerState_CONTAINER_CREATED {
		return nil, status.Errorf(codes.FailedPrecondition, "container %q is in %s", id, c.state)
	}
	if err := s.writeLog(c); err != nil {
		return nil, err
	}
	c.state, c.started = runtimeapi.ContainerState_CONTAINER_RUNNING, s.now()
	s.publish(s.sandboxes[c.sandbox], c.id, runtimeapi.ContainerEventType_CONTAINER_STARTED_EVENT)
	return c, nil
}

func (s *server) writeLog(c *container) error {
	if !s.options.Logs || c.logPath == "" {
		return nil
	}
	line := fmt.Sprintf("%s stdout F started %s\n", s.options.Now().UTC().Format(time.RFC3339Nano), c.config.GetMetadata().GetName())
	if err := os.MkdirAll(filepath.Dir(c.logPath), 0o755); err != nil {
		return fmt.Errorf("write log: %w", err)
	}
	if err := os.WriteFile(c.logPath, []byte(line), 0o640); err != nil {
		return fmt.Errorf("write log: %w", err)
	}
	return nil
}

func (s *server) exit(id string, code int32, reason string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.containers[id]
	if !ok || c.state != runtimeapi.ContainerState_CONTAINER_RUNNING {
		return false
	}
	s.finish(c, code, reason)
	return true
}

func (s *server) finish(c *container, code int32, reason string) {
	c.state, c.finished, c.code, c.reason = runtimeapi.ContainerState_CONTAINER_EXITED, s.now(), code, reason
	s.publish(s.sandboxes[c.sandbox], c.id, runtimeapi.ContainerEventType_CONTAINER_STOPPED_EVENT)
}

func exitReason(code int32) string {
	if code == 0 {
		return "Completed"
	}
	return "Error"
}

func (s *server) StopContainer(ctx context.Context, in *runtimeapi.StopContainerRequest) (*runtimeapi.StopContainerResponse, error) {
	if err := s.enter(ctx, "StopContainer"); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.containers[in.GetContainerId()]
	if ok && c.state == runtimeapi.ContainerState_CONTAINER_RUNNING {
		var code int32
		if s.options.StopCode != nil {
			code = s.options.StopCode(c.config)
		}
		s.finish(c, code, exitReason(code))
	}
	return &runtimeapi.StopContainerResponse{}, nil
}

func (s *server) RemoveContainer(ctx context.Context, in *runtimeapi.RemoveContainerRequest) (*runtimeapi.RemoveContainerResponse, error) {
	if err := s.enter(ctx, "RemoveContainer"); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.containers[in.GetContainerId()]
	if !ok {
		return &runtimeapi.RemoveContainerResponse{}, nil
	}
	if c.state == runtimeapi.ContainerState_CONTAINER_RUNNING {
		s.finish(c, 137, "Error")
	}
	delete(s.containers, c.id)
	s.publish(s.sandboxes[c.sandbox], c.id, runtimeapi.ContainerEventType_CONTAINER_DELETED_EVENT)
	return &runtimeapi.RemoveContainerResponse{}, nil
}

func (s *server) ContainerStatus(ctx context.Context, in *runtimeapi.ContainerStatusRequest) (*runtimeapi.ContainerStatusResponse, error) {
	if err := s.enter(ctx, "ContainerStatus"); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.containers[in.GetContainerId()]
	if !ok {
		return nil, status.Errorf(codes.NotFound, "no container %q", in.GetContainerId())
	}
	return &runtimeapi.ContainerStatusResponse{Status: c.status()}, nil
}

func (c *container) status() *runtimeapi.ContainerStatus {
	return &runtimeapi.ContainerStatus{
		Id: c.id, Metadata: c.config.GetMetadata(), State: c.state,
		CreatedAt: c.created, StartedAt: c.started, FinishedAt: c.finished, ExitCode: c.code, Reason: c.reason,
		Image: c.config.GetImage(), ImageRef: c.imageRef, ImageId: c.imageRef,
		Labels: c.config.GetLabels(), Annotations: c.config.GetAnnotations(), Mounts: c.config.GetMounts(),
		LogPath:   c.logPath,
		Resources: &runtimeapi.ContainerResources{Linux: c.config.GetLinux().GetResources()},
	}
}

func (s *server) ListContainers(ctx context.Context, in *runtimeapi.ListContainersRequest) (*runtimeapi.ListContainersResponse, error) {
	if err := s.enter(ctx, "ListContainers"); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return &runtimeapi.ListContainersResponse{Containers: s.listContainers(in.GetFilter())}, nil
}

func (s *server) listContainers(f *runtimeapi.ContainerFilter) []*runtimeapi.Container {
	var out []*runtimeapi.Container
	for _, c := range s.containers {
		if f.GetId() != "" && f.GetId() != c.id || f.GetPodSandboxId() != "" && f.GetPodSandboxId() != c.sandbox ||
			f.GetState() != nil && f.GetState().GetState() != c.state ||
			!matches(f.GetLabelSelector(), c.config.GetLabels()) {
			continue
		}
		out = append(out, &runtimeapi.Container{
			Id: c.id, PodSandboxId: c.sandbox, Metadata: c.config.GetMetadata(), Image: c.config.GetImage(),
			ImageRef: c.imageRef, ImageId: c.imageRef, State: c.state, CreatedAt: c.created,
			Labels: c.config.GetLabels(), Annotations: c.config.GetAnnotations(),
		})
	}
	return out
}

func (s *server) UpdateContainerResources(ctx context.Context, in *runtimeapi.UpdateContainerResourcesRequest) (*runtimeapi.UpdateContainerResourcesResponse, error) {
	if err := s.enter(ctx, "UpdateContainerResources"); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.containers[in.GetContainerId()]
	if !ok {
		return nil, status.Errorf(codes.NotFound, "no container %q", in.GetContainerId())
	}
	changed := proto.Clone(c.config).(*runtimeapi.ContainerConfig)
	if changed.Linux == nil {
		changed.Linux = &runtimeapi.LinuxContainerConfig{}
	}
	changed.Linux.Resources = in.GetLinux()
	c.config = changed
	return &runtimeapi.UpdateContainerResourcesResponse{}, nil
}

func (s *server) ReopenContainerLog(ctx context.Context, in *runtimeapi.ReopenContainerLogRequest) (*runtimeapi.ReopenContainerLogResponse, error) {
	if err := s.enter(ctx, "ReopenContainerLog"); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.containers[in.GetContainerId()]
	if !ok || c.state != runtimeapi.ContainerState_CONTAINER_RUNNING {
		return nil, status.Errorf(codes.FailedPrecondition, "container %q is not running", in.GetContainerId())
	}
	return &runtimeapi.ReopenContainerLogResponse{}, s.writeLog(c)
}
