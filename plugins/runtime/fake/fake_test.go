package fake_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/gantryio/gantry/interfaces/runtime"
	"github.com/gantryio/gantry/interfaces/runtime/runtimetest"
	"github.com/gantryio/gantry/plugins/runtime/fake"
)

func suite(r runtime.Runtime, t *testing.T) runtimetest.Suite {
	return runtimetest.Suite{Runtime: r, Image: "example.test/app:1", Absent: "example.test/app:2", LogDirectory: t.TempDir()}
}

func TestConformanceInProcess(t *testing.T) {
	suite(fake.New(fake.Options{Images: []string{"example.test/app:1"}}), t).Run(t)
}

func TestConformanceOverGRPC(t *testing.T) {
	f := fake.New(fake.Options{Images: []string{"example.test/app:1"}})
	server := grpc.NewServer()
	runtime.Register(server, f.Server())
	lis := bufconn.Listen(1 << 20)
	go func() { _ = server.Serve(lis) }()
	t.Cleanup(server.Stop)
	conn, err := grpc.NewClient("passthrough:///fake", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return lis.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	suite(runtime.NewClient(conn), t).Run(t)
}

func TestExitOnDemand(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	f := fake.New(fake.Options{
		Images:  []string{"app:1"},
		Started: func(r *fake.Runtime, id string, _ *runtimeapi.ContainerConfig) { r.Exit(id, 3) },
	})
	config := &runtimeapi.PodSandboxConfig{Metadata: &runtimeapi.PodSandboxMetadata{Name: "a", Namespace: "b", Uid: "c"}}
	sb, err := f.RunPodSandbox(ctx, &runtimeapi.RunPodSandboxRequest{Config: config})
	if err != nil {
		t.Fatal(err)
	}
	c, err := f.CreateContainer(ctx, &runtimeapi.CreateContainerRequest{PodSandboxId: sb.GetPodSandboxId(), Config: &runtimeapi.ContainerConfig{
		Metadata: &runtimeapi.ContainerMetadata{Name: "a"}, Image: &runtimeapi.ImageSpec{Image: "app:1"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.StartContainer(ctx, &runtimeapi.StartContainerRequest{ContainerId: c.GetContainerId()}); err != nil {
		t.Fatal(err)
	}
	st, err := f.ContainerStatus(ctx, &runtimeapi.ContainerStatusRequest{ContainerId: c.GetContainerId()})
	if err != nil || st.GetStatus().GetExitCode() != 3 || st.GetStatus().GetReason() != "Error" {
		t.Fatalf("status is %v, %v; want exit code 3", st, err)
	}
}

func TestFail(t *testing.T) {
	f := fake.New(fake.Options{})
	f.Fail("ListImages", errors.New("disk on fire"))
	if _, err := f.ListImages(context.Background(), &runtimeapi.ListImagesRequest{}); err == nil {
		t.Error("the call did not fail")
	}
	if _, err := f.ListImages(context.Background(), &runtimeapi.ListImagesRequest{}); err != nil {
		t.Errorf("the next call failed too: %v", err)
	}
}

// An agent tells the sandboxes of several runtimes apart by their IDs.
func TestIDsAreUniqueAmongFakes(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range []*fake.Runtime{fake.New(fake.Options{}), fake.New(fake.Options{})} {
		for n := range 2 {
			config := &runtimeapi.PodSandboxConfig{Metadata: &runtimeapi.PodSandboxMetadata{Name: "a", Namespace: "b", Uid: "c", Attempt: uint32(n)}}
			sb, err := f.RunPodSandbox(t.Context(), &runtimeapi.RunPodSandboxRequest{Config: config})
			if err != nil {
				t.Fatal(err)
			}
			if id := sb.GetPodSandboxId(); seen[id] || len(id) != 64 {
				t.Errorf("ID %s is not unique, or has not 64 digits", id)
			}
			seen[sb.GetPodSandboxId()] = true
		}
	}
}
