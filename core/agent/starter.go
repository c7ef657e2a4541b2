package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/gantryio/gantry/core/agent/criconfig"
	"github.com/gantryio/gantry/core/agent/pod"
	"github.com/gantryio/gantry/interfaces/runtime"
)

// errStart is a container that was created but did not start.
var errStart = errors.New("start container")

// starter starts one incarnation of a container.
type starter struct {
	a      *Agent
	pod    *corev1.Pod
	c      *corev1.Container
	img    pod.Image
	sb     pod.Sandbox
	act    pod.Action
	target string
	fields criconfig.Fields
}

// start creates and starts the container. It returns the id of what was created even when starting failed.
func (s *starter) start(ctx context.Context, rt runtime.Runtime) (string, error) {
	cfg, err := s.config(ctx)
	if err != nil {
		return "", err
	}
	handler, err := s.a.handlerOf(ctx, s.pod)
	if err != nil {
		return "", err
	}
	_, ref, _, err := s.a.Runtimes.Runtime(handler)
	if err != nil {
		return "", err
	}
	res, err := rt.CreateContainer(ctx, &runtimeapi.CreateContainerRequest{
		PodSandboxId: s.sb.ID, Config: cfg, SandboxConfig: s.a.sandboxConfig(s.pod, s.sb.Attempt, ref, handler),
	})
	if err != nil {
		return "", err
	}
	id := res.GetContainerId()
	s.a.event(s.pod, s.c.Name, corev1.EventTypeNormal, "Created", "Container created")
	if _, err := rt.StartContainer(ctx, &runtimeapi.StartContainerRequest{ContainerId: id}); err != nil {
		return id, fmt.Errorf("%w: %s", errStart, message(err))
	}
	s.a.event(s.pod, s.c.Name, corev1.EventTypeNormal, "Started", "Container started")
	return id, nil
}

func (s *starter) config(ctx context.Context) (*runtimeapi.ContainerConfig, error) {
	services, err := s.a.servicesFor(ctx, s.pod)
	if err != nil {
		return nil, err
	}
	env, err := criconfig.Environment(s.pod, s.c, services, source{ctx: ctx, a: s.a, namespace: s.pod.Namespace}, s.fields)
	if err != nil {
		return nil, err
	}
	in := criconfig.ContainerInput{
		Attempt: s.act.Attempt, Step: s.act.Step, ImageRef: s.img.Ref,
		ImageUser: criconfig.ImageUser{UID: s.img.UID, Name: s.img.User}, Env: env, Machine: s.a.machineLimits(),
		Profiles: s.a.profiles(), Target: s.target,
	}
	if !s.a.Hollow {
		if in.Mounts, in.MessageFile, err = s.files(ctx, env); err != nil {
			return nil, err
		}
	}
	return criconfig.Container(s.pod, s.c, in)
}

// files makes what the container needs on the node: its mounts, its hosts file, its termination log and its log folder.
func (s *starter) files(ctx context.Context, env *criconfig.Env) ([]*runtimeapi.Mount, string, error) {
	logDir := filepath.Join(criconfig.LogDirectory(s.a.LogDir, s.pod.Namespace, s.pod.Name, string(s.pod.UID)), s.c.Name)
	if err := os.MkdirAll(logDir, 0o755); err != nil {
		return nil, "", fmt.Errorf("make log directory: %w", err)
	}
	images, err := s.a.volumeImages(ctx, s.pod, s.c)
	if err != nil {
		return nil, "", err
	}
	mounts, err := s.a.volumes.Mounts(s.pod, s.c, env, images)
	if err != nil {
		return nil, "", err
	}
	if !mounted(mounts, "/etc/hosts") {
		hosts, err := s.hosts()
		if err != nil {
			return nil, "", err
		}
		mounts = append(mounts, &runtimeapi.Mount{ContainerPath: "/etc/hosts", HostPath: hosts, SelinuxRelabel: true})
	}
	file, err := s.messageFile()
	if err != nil || file == "" {
		return mounts, "", err
	}
	return append(mounts, &runtimeapi.Mount{ContainerPath: s.c.TerminationMessagePath, HostPath: file, SelinuxRelabel: true}), file, nil
}

func mounted(mounts []*runtimeapi.Mount, path string) bool {
	for _, m := range mounts {
		if filepath.Clean(m.GetContainerPath()) == path {
			return true
		}
	}
	return false
}

// hosts writes the pod's hosts file. It is written in place, since containers have it mounted.
func (s *starter) hosts() (string, error) {
	dir := s.a.volumes.PodDir(string(s.pod.UID))
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return "", fmt.Errorf("make pod directory: %w", err)
	}
	var host []byte
	if s.pod.Spec.HostNetwork {
		host, _ = os.ReadFile("/etc/hosts")
	}
	path := filepath.Join(dir, "etc-hosts")
	if err := os.WriteFile(path, criconfig.Hosts(s.pod, s.fields.PodIPs, s.a.ClusterDomain, host), 0o644); err != nil {
		return "", fmt.Errorf("write hosts file: %w", err)
	}
	return path, nil
}

func (s *starter) messageFile() (string, error) {
	if s.c.TerminationMessagePath == "" {
		return "", nil
	}
	dir := filepath.Join(s.a.volumes.PodDir(string(s.pod.UID)), "containers", s.c.Name)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return "", fmt.Errorf("make container directory: %w", err)
	}
	path := filepath.Join(dir, strconv.Itoa(int(s.act.Attempt)))
	if err := os.WriteFile(path, nil, 0o666); err != nil {
		return "", fmt.Errorf("make termination log: %w", err)
	}
	if err := os.Chmod(path, 0o666); err != nil {
		return "", fmt.Errorf("make termination log: %w", err)
	}
	return path, nil
}
