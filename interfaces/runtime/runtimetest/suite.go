// Package runtimetest is the conformance suite of runtime plugins: what Gantry relies on in a CRI
// runtime. It runs against the fake and against real runtimes alike.
package runtimetest

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/gantryio/gantry/interfaces/plugin/conformance"
	"github.com/gantryio/gantry/interfaces/runtime"
)

// Suite is what a runtime under test has to bring along.
type Suite struct {
	// Runtime is under test.
	Runtime runtime.Runtime
	// Image is present, and its program runs until it gets SIGTERM.
	Image string
	// Absent is a well-formed image name that is not present.
	Absent string
	// LogDirectory is a folder for container logs.
	LogDirectory string
	// CgroupParent is where sandboxes go; may be empty.
	CgroupParent string
}

// Run runs the suite. Everything it made is removed again.
func (s Suite) Run(t *testing.T) { conformance.Test(t, s.Cases()) }

// Cases are what Run runs.
func (s Suite) Cases() []conformance.Case {
	return []conformance.Case{
		{Name: "a sandbox lives and dies", Run: s.sandbox},
		{Name: "a container lives and dies", Run: s.container},
		{Name: "events tell of each change", Run: s.events},
		{Name: "unknown things", Run: s.unknown},
		{Name: "images", Run: s.images},
		{Name: "a sandbox name is used once", Run: s.duplicate},
		{Name: "stopping a sandbox stops its containers", Run: s.stopAll},
		{Name: "statistics", Run: s.stats},
		{Name: "lists are filtered", Run: s.filters},
		{Name: "sandboxes at the same time", Run: s.concurrent},
		{Name: "a call that is given up", Run: s.givenUp},
	}
}

const deadline = 60 * time.Second

func start(t conformance.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	t.Cleanup(cancel)
	return ctx
}

func (s Suite) config(t conformance.T, name string) *runtimeapi.PodSandboxConfig {
	return &runtimeapi.PodSandboxConfig{
		Metadata:     &runtimeapi.PodSandboxMetadata{Name: name, Namespace: "conformance", Uid: "uid-" + name + "-" + time.Now().Format("150405.000000")},
		Hostname:     name,
		LogDirectory: s.LogDirectory,
		Labels:       map[string]string{"suite": name},
		Annotations:  map[string]string{"note": t.Name()},
		DnsConfig:    &runtimeapi.DNSConfig{},
		Linux: &runtimeapi.LinuxPodSandboxConfig{
			CgroupParent:    s.CgroupParent,
			SecurityContext: &runtimeapi.LinuxSandboxSecurityContext{NamespaceOptions: &runtimeapi.NamespaceOption{Pid: runtimeapi.NamespaceMode_CONTAINER}},
		},
	}
}

// run starts a sandbox that is removed when the test ends.
func (s Suite) run(ctx context.Context, t conformance.T, name string) (string, *runtimeapi.PodSandboxConfig) {
	t.Helper()
	config := s.config(t, name)
	res, err := s.Runtime.RunPodSandbox(ctx, &runtimeapi.RunPodSandboxRequest{Config: config})
	if err != nil {
		t.Fatalf("run sandbox: %v", err)
	}
	id := res.GetPodSandboxId()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), deadline)
		defer cancel()
		if _, err := s.Runtime.StopPodSandbox(ctx, &runtimeapi.StopPodSandboxRequest{PodSandboxId: id}); err != nil {
			t.Errorf("stop sandbox: %v", err)
		}
		if _, err := s.Runtime.RemovePodSandbox(ctx, &runtimeapi.RemovePodSandboxRequest{PodSandboxId: id}); err != nil {
			t.Errorf("remove sandbox: %v", err)
		}
	})
	return id, config
}

func (s Suite) create(ctx context.Context, t conformance.T, sandbox string, config *runtimeapi.PodSandboxConfig, name string) string {
	t.Helper()
	res, err := s.Runtime.CreateContainer(ctx, &runtimeapi.CreateContainerRequest{
		PodSandboxId: sandbox, SandboxConfig: config,
		Config: &runtimeapi.ContainerConfig{
			Metadata: &runtimeapi.ContainerMetadata{Name: name},
			Image:    &runtimeapi.ImageSpec{Image: s.Image},
			LogPath:  name + ".log",
			Labels:   map[string]string{"container": name},
			Linux:    &runtimeapi.LinuxContainerConfig{Resources: &runtimeapi.LinuxContainerResources{}},
		},
	})
	if err != nil {
		t.Fatalf("create container: %v", err)
	}
	return res.GetContainerId()
}

func (s Suite) startContainer(ctx context.Context, t conformance.T, id string) {
	t.Helper()
	if _, err := s.Runtime.StartContainer(ctx, &runtimeapi.StartContainerRequest{ContainerId: id}); err != nil {
		t.Fatalf("start container: %v", err)
	}
}

func (s Suite) state(ctx context.Context, t conformance.T, id string) *runtimeapi.ContainerStatus {
	t.Helper()
	res, err := s.Runtime.ContainerStatus(ctx, &runtimeapi.ContainerStatusRequest{ContainerId: id})
	if err != nil {
		t.Fatalf("container status: %v", err)
	}
	return res.GetStatus()
}

func wantCode(t conformance.T, what string, err error, want codes.Code) {
	t.Helper()
	if got := status.Code(err); got != want {
		t.Errorf("%s: got %v (%v), want %v", what, got, err, want)
	}
}

type eventStream = grpc.ServerStreamingClient[runtimeapi.ContainerEventResponse]

// await reads events until one of the kind comes for the ID.
func await(t conformance.T, stream eventStream, id string, kind runtimeapi.ContainerEventType) *runtimeapi.ContainerEventResponse {
	t.Helper()
	for {
		e, err := stream.Recv()
		if err != nil {
			t.Fatalf("wait for %s of %s: %v", kind, id, err)
		}
		if e.GetContainerId() == id && e.GetContainerEventType() == kind {
			return e
		}
	}
}
