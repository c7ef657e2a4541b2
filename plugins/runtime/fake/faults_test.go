package fake_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/gantryio/gantry/interfaces/plugin/conformance"
	"github.com/gantryio/gantry/interfaces/runtime"
	"github.com/gantryio/gantry/plugins/runtime/fake"
)

// faulty is the fake's client with faults in single calls.
type faulty struct {
	runtime.Runtime
	fault string
}

func (f faulty) RunPodSandbox(ctx context.Context, in *runtimeapi.RunPodSandboxRequest, o ...grpc.CallOption) (*runtimeapi.RunPodSandboxResponse, error) {
	switch f.fault {
	case "labels are lost":
		in.Config.Labels = map[string]string{}
	case "names are not kept apart":
		in.Config.Metadata.Attempt = uint32(time.Now().UnixNano())
	}
	return f.Runtime.RunPodSandbox(ctx, in, o...)
}

func (f faulty) PodSandboxStatus(ctx context.Context, in *runtimeapi.PodSandboxStatusRequest, o ...grpc.CallOption) (*runtimeapi.PodSandboxStatusResponse, error) {
	out, err := f.Runtime.PodSandboxStatus(ctx, in, o...)
	if f.fault == "no addresses" && err == nil {
		out.Status.Network = nil
	}
	if f.fault == "one address for all" && err == nil {
		out.Status.Network.Ip = "10.1.1.1"
	}
	return out, err
}

func (f faulty) RemoveContainer(ctx context.Context, in *runtimeapi.RemoveContainerRequest, o ...grpc.CallOption) (*runtimeapi.RemoveContainerResponse, error) {
	if _, err := f.Runtime.ContainerStatus(ctx, &runtimeapi.ContainerStatusRequest{ContainerId: in.GetContainerId()}); f.fault == "removing twice fails" && err != nil {
		return nil, err
	}
	return f.Runtime.RemoveContainer(ctx, in, o...)
}

func (f faulty) ListContainers(ctx context.Context, in *runtimeapi.ListContainersRequest, o ...grpc.CallOption) (*runtimeapi.ListContainersResponse, error) {
	if f.fault == "filters are ignored" {
		in = &runtimeapi.ListContainersRequest{Filter: &runtimeapi.ContainerFilter{Id: "none"}}
	}
	return f.Runtime.ListContainers(ctx, in, o...)
}

func (f faulty) ContainerStats(ctx context.Context, in *runtimeapi.ContainerStatsRequest, o ...grpc.CallOption) (*runtimeapi.ContainerStatsResponse, error) {
	if f.fault == "no statistics" {
		return nil, status.Error(codes.Unimplemented, "no statistics")
	}
	return f.Runtime.ContainerStats(ctx, in, o...)
}

func (f faulty) ImageStatus(ctx context.Context, in *runtimeapi.ImageStatusRequest, o ...grpc.CallOption) (*runtimeapi.ImageStatusResponse, error) {
	out, err := f.Runtime.ImageStatus(ctx, in, o...)
	if f.fault == "an absent image is an error" && err == nil && out.GetImage() == nil {
		return nil, status.Error(codes.NotFound, "no such image")
	}
	return out, err
}

func (f faulty) StopPodSandbox(ctx context.Context, in *runtimeapi.StopPodSandboxRequest, o ...grpc.CallOption) (*runtimeapi.StopPodSandboxResponse, error) {
	if f.fault == "stopping stops nothing" {
		return &runtimeapi.StopPodSandboxResponse{}, nil
	}
	return f.Runtime.StopPodSandbox(ctx, in, o...)
}

// TestSuiteCatches plants one fault each.
func TestSuiteCatches(t *testing.T) {
	for fault, by := range map[string]string{
		"":                            "",
		"labels are lost":             "a sandbox lives and dies",
		"no addresses":                "a sandbox lives and dies",
		"one address for all":         "sandboxes at the same time",
		"names are not kept apart":    "a sandbox name is used once",
		"removing twice fails":        "a container lives and dies",
		"filters are ignored":         "lists are filtered",
		"no statistics":               "statistics",
		"an absent image is an error": "images",
		"stopping stops nothing":      "stopping a sandbox stops its containers",
	} {
		t.Run(fault, func(t *testing.T) {
			f := faulty{fake.New(fake.Options{Images: []string{"example.test/app:1"}}), fault}
			for _, r := range conformance.Run(named(suite(f, t).Cases(), by), time.Minute, nil) {
				if by == "" && !r.Passed() || by == r.Name && r.Passed() {
					t.Errorf("%s: passed is %v: %v", r.Name, r.Passed(), r.Problems)
				}
			}
		})
	}
}

// named are the cases of a name, or all.
func named(cases []conformance.Case, name string) []conformance.Case {
	return slices.DeleteFunc(cases, func(c conformance.Case) bool { return name != "" && c.Name != name })
}
