package fake

import (
	"context"
	"fmt"
	"net/netip"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

type sandbox struct {
	id      string
	name    string
	config  *runtimeapi.PodSandboxConfig
	handler string
	state   runtimeapi.PodSandboxState
	created int64
	ips     []netip.Addr
}

func (s *server) RunPodSandbox(ctx context.Context, in *runtimeapi.RunPodSandboxRequest) (*runtimeapi.RunPodSandboxResponse, error) {
	if err := s.enter(ctx, "RunPodSandbox"); err != nil {
		return nil, err
	}
	m := in.GetConfig().GetMetadata()
	if m.GetName() == "" || m.GetUid() == "" {
		return nil, status.Error(codes.InvalidArgument, "sandbox config has no name or uid")
	}
	sb, err := s.reserve(in)
	if err != nil {
		return nil, err
	}
	if err := s.attach(ctx, sb); err != nil {
		s.mu.Lock()
		delete(s.sandboxes, sb.id)
		s.mu.Unlock()
		return nil, fmt.Errorf("attach sandbox %s: %w", sb.id, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	sb.state = runtimeapi.PodSandboxState_SANDBOX_READY
	s.publish(sb, sb.id, runtimeapi.ContainerEventType_CONTAINER_CREATED_EVENT)
	s.publish(sb, sb.id, runtimeapi.ContainerEventType_CONTAINER_STARTED_EVENT)
	return &runtimeapi.RunPodSandboxResponse{PodSandboxId: sb.id}, nil
}

func (s *server) reserve(in *runtimeapi.RunPodSandboxRequest) (*sandbox, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := in.GetConfig().GetMetadata()
	name := fmt.Sprintf("%s_%s_%s_%d", m.GetName(), m.GetNamespace(), m.GetUid(), m.GetAttempt())
	for _, other := range s.sandboxes {
		if other.name == name {
			return nil, status.Errorf(codes.AlreadyExists, "sandbox name %q is reserved for %q", name, other.id)
		}
	}
	sb := &sandbox{
		id: s.newID(), name: name, config: in.GetConfig(), handler: in.GetRuntimeHandler(),
		state: runtimeapi.PodSandboxState_SANDBOX_NOTREADY, created: s.now(),
	}
	s.sandboxes[sb.id] = sb
	return sb, nil
}

// attach gives a sandbox its addresses, unless it uses the node's network.
func (s *server) attach(ctx context.Context, sb *sandbox) error {
	if hostNetwork(sb.config) {
		return nil
	}
	if s.options.Attach != nil {
		ips, err := s.options.Attach(ctx, sb.id, sb.config)
		if err != nil {
			return err
		}
		s.mu.Lock()
		sb.ips = ips
		s.mu.Unlock()
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for range 1 << 16 {
		if s.cursor = s.cursor.Next(); !s.options.PodCIDR.Contains(s.cursor) {
			s.cursor = s.options.PodCIDR.Masked().Addr().Next()
		}
		if _, taken := s.addresses[s.cursor]; !taken {
			s.addresses[s.cursor] = sb.id
			sb.ips = []netip.Addr{s.cursor}
			return nil
		}
	}
	return status.Errorf(codes.ResourceExhausted, "no address left in %s", s.options.PodCIDR)
}

func hostNetwork(c *runtimeapi.PodSandboxConfig) bool {
	return c.GetLinux().GetSecurityContext().GetNamespaceOptions().GetNetwork() == runtimeapi.NamespaceMode_NODE
}

func (s *server) StopPodSandbox(ctx context.Context, in *runtimeapi.StopPodSandboxRequest) (*runtimeapi.StopPodSandboxResponse, error) {
	if err := s.enter(ctx, "StopPodSandbox"); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if sb, ok := s.sandboxes[in.GetPodSandboxId()]; ok {
		s.stopSandbox(sb)
	}
	return &runtimeapi.StopPodSandboxResponse{}, nil
}

func (s *server) stopSandbox(sb *sandbox) {
	for _, c := range s.containers {
		if c.sandbox == sb.id && c.state == runtimeapi.ContainerState_CONTAINER_RUNNING {
			s.finish(c, 137, "Error")
		}
	}
	for _, ip := range sb.ips {
		delete(s.addresses, ip)
	}
	if sb.state == runtimeapi.PodSandboxState_SANDBOX_READY {
		sb.state = runtimeapi.PodSandboxState_SANDBOX_NOTREADY
		s.publish(sb, sb.id, runtimeapi.ContainerEventType_CONTAINER_STOPPED_EVENT)
	}
	sb.ips = nil
}

func (s *server) RemovePodSandbox(ctx context.Context, in *runtimeapi.RemovePodSandboxRequest) (*runtimeapi.RemovePodSandboxResponse, error) {
	if err := s.enter(ctx, "RemovePodSandbox"); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	sb, ok := s.sandboxes[in.GetPodSandboxId()]
	if !ok {
		return &runtimeapi.RemovePodSandboxResponse{}, nil
	}
	s.stopSandbox(sb)
	for id, c := range s.containers {
		if c.sandbox == sb.id {
			delete(s.containers, id)
		}
	}
	delete(s.sandboxes, sb.id)
	s.publish(sb, sb.id, runtimeapi.ContainerEventType_CONTAINER_DELETED_EVENT)
	return &runtimeapi.RemovePodSandboxResponse{}, nil
}

func (s *server) PodSandboxStatus(ctx context.Context, in *runtimeapi.PodSandboxStatusRequest) (*runtimeapi.PodSandboxStatusResponse, error) {
	if err := s.enter(ctx, "PodSandboxStatus"); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	sb, ok := s.sandboxes[in.GetPodSandboxId()]
	if !ok {
		return nil, status.Errorf(codes.NotFound, "no sandbox %q", in.GetPodSandboxId())
	}
	return &runtimeapi.PodSandboxStatusResponse{
		Status: sb.status(), ContainersStatuses: s.statusesOf(sb), Timestamp: s.now(),
	}, nil
}

func (sb *sandbox) status() *runtimeapi.PodSandboxStatus {
	st := &runtimeapi.PodSandboxStatus{
		Id: sb.id, Metadata: sb.config.GetMetadata(), State: sb.state, CreatedAt: sb.created,
		Labels: sb.config.GetLabels(), Annotations: sb.config.GetAnnotations(), RuntimeHandler: sb.handler,
		Network: &runtimeapi.PodSandboxNetworkStatus{},
		Linux: &runtimeapi.LinuxPodSandboxStatus{Namespaces: &runtimeapi.Namespace{
			Options: sb.config.GetLinux().GetSecurityContext().GetNamespaceOptions(),
		}},
	}
	for i, ip := range sb.ips {
		if i == 0 {
			st.Network.Ip = ip.String()
			continue
		}
		st.Network.AdditionalIps = append(st.Network.AdditionalIps, &runtimeapi.PodIP{Ip: ip.String()})
	}
	return st
}

func (s *server) ListPodSandbox(ctx context.Context, in *runtimeapi.ListPodSandboxRequest) (*runtimeapi.ListPodSandboxResponse, error) {
	if err := s.enter(ctx, "ListPodSandbox"); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return &runtimeapi.ListPodSandboxResponse{Items: s.list(in.GetFilter())}, nil
}

func (s *server) list(f *runtimeapi.PodSandboxFilter) []*runtimeapi.PodSandbox {
	var out []*runtimeapi.PodSandbox
	for _, sb := range s.sandboxes {
		if f.GetId() != "" && f.GetId() != sb.id || f.GetState() != nil && f.GetState().GetState() != sb.state ||
			!matches(f.GetLabelSelector(), sb.config.GetLabels()) {
			continue
		}
		out = append(out, &runtimeapi.PodSandbox{
			Id: sb.id, Metadata: sb.config.GetMetadata(), State: sb.state, CreatedAt: sb.created,
			Labels: sb.config.GetLabels(), Annotations: sb.config.GetAnnotations(), RuntimeHandler: sb.handler,
		})
	}
	return out
}

func matches(selector, labels map[string]string) bool {
	for k, v := range selector {
		if labels[k] != v {
			return false
		}
	}
	return true
}

func (s *server) UpdatePodSandboxResources(ctx context.Context, in *runtimeapi.UpdatePodSandboxResourcesRequest) (*runtimeapi.UpdatePodSandboxResourcesResponse, error) {
	if err := s.enter(ctx, "UpdatePodSandboxResources"); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.sandboxes[in.GetPodSandboxId()]; !ok {
		return nil, status.Errorf(codes.NotFound, "no sandbox %q", in.GetPodSandboxId())
	}
	return &runtimeapi.UpdatePodSandboxResourcesResponse{}, nil
}
