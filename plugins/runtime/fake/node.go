package fake

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func (s *server) Version(ctx context.Context, _ *runtimeapi.VersionRequest) (*runtimeapi.VersionResponse, error) {
	return &runtimeapi.VersionResponse{
		Version: "0.1.0", RuntimeName: s.options.Name, RuntimeVersion: "1.0.0", RuntimeApiVersion: "v1",
	}, s.enter(ctx, "Version")
}

func (s *server) Status(ctx context.Context, _ *runtimeapi.StatusRequest) (*runtimeapi.StatusResponse, error) {
	return &runtimeapi.StatusResponse{Status: &runtimeapi.RuntimeStatus{Conditions: []*runtimeapi.RuntimeCondition{
		{Type: runtimeapi.RuntimeReady, Status: true},
		{Type: runtimeapi.NetworkReady, Status: true},
	}}}, s.enter(ctx, "Status")
}

func (s *server) RuntimeConfig(ctx context.Context, _ *runtimeapi.RuntimeConfigRequest) (*runtimeapi.RuntimeConfigResponse, error) {
	return &runtimeapi.RuntimeConfigResponse{Linux: &runtimeapi.LinuxRuntimeConfiguration{
		CgroupDriver: runtimeapi.CgroupDriver_CGROUPFS,
	}}, s.enter(ctx, "RuntimeConfig")
}

func (s *server) UpdateRuntimeConfig(ctx context.Context, _ *runtimeapi.UpdateRuntimeConfigRequest) (*runtimeapi.UpdateRuntimeConfigResponse, error) {
	return &runtimeapi.UpdateRuntimeConfigResponse{}, s.enter(ctx, "UpdateRuntimeConfig")
}

func (s *server) running(id string) (*container, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.containers[id]
	if !ok {
		return nil, status.Errorf(codes.NotFound, "no container %q", id)
	}
	if c.state != runtimeapi.ContainerState_CONTAINER_RUNNING {
		return nil, status.Errorf(codes.FailedPrecondition, "container %q is in %s", id, c.state)
	}
	return c, nil
}

func (s *server) ExecSync(ctx context.Context, in *runtimeapi.ExecSyncRequest) (*runtimeapi.ExecSyncResponse, error) {
	if err := s.enter(ctx, "ExecSync"); err != nil {
		return nil, err
	}
	c, err := s.running(in.GetContainerId())
	if err != nil {
		return nil, err
	}
	if s.options.Exec != nil {
		return s.options.Exec(ctx, c.config, in.GetCmd())
	}
	return &runtimeapi.ExecSyncResponse{}, nil
}

func (s *server) Exec(ctx context.Context, in *runtimeapi.ExecRequest) (*runtimeapi.ExecResponse, error) {
	if err := s.enter(ctx, "Exec"); err != nil {
		return nil, err
	}
	if _, err := s.running(in.GetContainerId()); err != nil {
		return nil, err
	}
	url, err := s.pathURL("exec/" + in.GetContainerId())
	return &runtimeapi.ExecResponse{Url: url}, err
}

func (s *server) Attach(ctx context.Context, in *runtimeapi.AttachRequest) (*runtimeapi.AttachResponse, error) {
	if err := s.enter(ctx, "Attach"); err != nil {
		return nil, err
	}
	if _, err := s.running(in.GetContainerId()); err != nil {
		return nil, err
	}
	url, err := s.pathURL("attach/" + in.GetContainerId())
	return &runtimeapi.AttachResponse{Url: url}, err
}

func (s *server) PortForward(ctx context.Context, in *runtimeapi.PortForwardRequest) (*runtimeapi.PortForwardResponse, error) {
	if err := s.enter(ctx, "PortForward"); err != nil {
		return nil, err
	}
	url, err := s.pathURL("portforward/" + in.GetPodSandboxId())
	return &runtimeapi.PortForwardResponse{Url: url}, err
}
