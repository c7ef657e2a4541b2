package cri

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/gantryio/gantry/interfaces/plugin"
	"github.com/gantryio/gantry/interfaces/runtime"
	"github.com/gantryio/gantry/interfaces/runtime/runtimetest"
	"github.com/gantryio/gantry/plugins/runtime/fake"
)

const image = "example.test/app:1"

// old is a runtime that has no events and complains about what is not there.
type old struct{ runtime.Server }

func (old) GetContainerEvents(*runtimeapi.GetEventsRequest, grpc.ServerStreamingServer[runtimeapi.ContainerEventResponse]) error {
	return status.Error(codes.Unimplemented, "unknown method GetContainerEvents")
}

func (o old) StopContainer(ctx context.Context, in *runtimeapi.StopContainerRequest) (*runtimeapi.StopContainerResponse, error) {
	if _, err := o.ContainerStatus(ctx, &runtimeapi.ContainerStatusRequest{ContainerId: in.GetContainerId()}); err != nil {
		return nil, err
	}
	return o.Server.StopContainer(ctx, in)
}

func (o old) StopPodSandbox(ctx context.Context, in *runtimeapi.StopPodSandboxRequest) (*runtimeapi.StopPodSandboxResponse, error) {
	if _, err := o.PodSandboxStatus(ctx, &runtimeapi.PodSandboxStatusRequest{PodSandboxId: in.GetPodSandboxId()}); err != nil {
		return nil, err
	}
	return o.Server.StopPodSandbox(ctx, in)
}

// shortDir is for sockets, whose paths are limited.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "cri")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// listen serves a runtime on a socket until the returned function is called.
func listen(t *testing.T, socket string, s runtime.Server) func() {
	t.Helper()
	lis, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	runtime.Register(server, s)
	go func() { _ = server.Serve(lis) }()
	t.Cleanup(server.Stop)
	return server.Stop
}

// open serves the plugin as its process would, and returns what the host would use.
func open(t *testing.T, c Config) (*Plugin, *runtime.Client) {
	t.Helper()
	p, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.end(); <-p.ended })
	socket := filepath.Join(shortDir(t), "p")
	lis, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(p.ServerOptions()...)
	go func() { _ = server.Serve(lis) }()
	t.Cleanup(server.Stop)
	conn, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return p, runtime.NewClient(conn)
}

func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestConformance(t *testing.T) {
	for name, shape := range map[string]func(runtime.Server) runtime.Server{
		"a runtime of today":       func(s runtime.Server) runtime.Server { return s },
		"a runtime without events": func(s runtime.Server) runtime.Server { return old{s} },
	} {
		t.Run(name, func(t *testing.T) {
			socket := filepath.Join(shortDir(t), "s")
			listen(t, socket, shape(fake.New(fake.Options{Images: []string{image}}).Server()))
			_, client := open(t, Config{Endpoint: socket})
			runtimetest.Suite{Runtime: client, Image: image, Absent: "example.test/app:2", LogDirectory: t.TempDir()}.Run(t)
		})
	}
}

func sandbox(name string) *runtimeapi.RunPodSandboxRequest {
	return &runtimeapi.RunPodSandboxRequest{Config: &runtimeapi.PodSandboxConfig{
		Metadata: &runtimeapi.PodSandboxMetadata{Name: name, Namespace: "default", Uid: name},
	}}
}

func TestOthersStayUnseen(t *testing.T) {
	ctx, socket := deadline(t), filepath.Join(shortDir(t), "s")
	f := fake.New(fake.Options{Images: []string{image}})
	listen(t, socket, f.Server())
	theirs, err := f.RunPodSandbox(ctx, sandbox("theirs"))
	if err != nil {
		t.Fatal(err)
	}
	other, second := open(t, Config{Endpoint: socket, Owner: "other"})
	if _, err := second.RunPodSandbox(ctx, sandbox("of-another-cluster")); err != nil {
		t.Fatal(err)
	}
	p, client := open(t, Config{Endpoint: socket})
	ours, err := client.RunPodSandbox(ctx, sandbox("ours"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.CreateContainer(ctx, &runtimeapi.CreateContainerRequest{PodSandboxId: ours.GetPodSandboxId(), Config: &runtimeapi.ContainerConfig{
		Metadata: &runtimeapi.ContainerMetadata{Name: "main"}, Image: &runtimeapi.ImageSpec{Image: image},
	}})
	if err != nil {
		t.Fatal(err)
	}
	pods, err := client.ListPodSandbox(ctx, &runtimeapi.ListPodSandboxRequest{})
	if err != nil || len(pods.GetItems()) != 1 || pods.GetItems()[0].GetId() != ours.GetPodSandboxId() {
		t.Errorf("sandboxes are %v, %v; want ours alone", pods.GetItems(), err)
	}
	containers, err := client.ListContainers(ctx, &runtimeapi.ListContainersRequest{})
	if err != nil || len(containers.GetContainers()) != 1 || containers.GetContainers()[0].GetId() != c.GetContainerId() {
		t.Errorf("containers are %v, %v; want ours alone", containers.GetContainers(), err)
	}
	stats, err := client.ListPodSandboxStats(ctx, &runtimeapi.ListPodSandboxStatsRequest{})
	if err != nil || len(stats.GetStats()) != 1 {
		t.Errorf("statistics are %v, %v; want ours alone", stats.GetStats(), err)
	}
	for _, one := range []*Plugin{p, other} {
		if err := one.Stop(ctx); err != nil {
			t.Fatal(err)
		}
	}
	left, _ := f.Dump()
	if len(left) != 1 || left[0].GetId() != theirs.GetPodSandboxId() {
		t.Errorf("after Stop there are %v; want what others made", left)
	}
}

// conditions follows what the plugin reports.
func conditions(ctx context.Context, p *Plugin) <-chan plugin.Condition {
	out := make(chan plugin.Condition)
	go func() {
		_ = p.Report(ctx, func(c plugin.Condition) error {
			select {
			case out <- c:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	return out
}

func awaitCondition(ctx context.Context, t *testing.T, from <-chan plugin.Condition, what string, is func(plugin.Condition) bool) {
	t.Helper()
	for {
		select {
		case c := <-from:
			if is(c) {
				return
			}
		case <-ctx.Done():
			t.Fatalf("the condition never was: %s", what)
		}
	}
}

func TestSocketComesAndGoes(t *testing.T) {
	ctx, socket := deadline(t), filepath.Join(shortDir(t), "s")
	p, client := open(t, Config{Endpoint: socket})
	said := conditions(ctx, p)
	absent := func(c plugin.Condition) bool {
		return strings.Contains(c.Problem, socket) && strings.Contains(c.Problem, "no such file")
	}
	well := func(c plugin.Condition) bool { return c.Problem == "" }
	awaitCondition(ctx, t, said, "absent", absent)
	brief, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if _, err := p.cri.Version(brief, &runtimeapi.VersionRequest{}); status.Code(err) != codes.Unavailable {
		t.Errorf("a call of a runtime that is not there: %v", err)
	}
	f := fake.New(fake.Options{Images: []string{image}})
	for range 2 {
		stop := listen(t, socket, f.Server())
		// A call that began while the runtime was away is answered when it is back.
		if _, err := client.Version(ctx, &runtimeapi.VersionRequest{}); err != nil {
			t.Fatal(err)
		}
		awaitCondition(ctx, t, said, "well", well)
		stop()
		awaitCondition(ctx, t, said, "absent again", absent)
	}
	short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	if err := p.ready(short); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), socket) {
		t.Errorf("a call of a runtime that is away fails with %v", err)
	}
}

func TestConfigIsChecked(t *testing.T) {
	for name, c := range map[string]Config{
		"no endpoint":       {},
		"relative endpoint": {Endpoint: "a/b"},
		"relative folder":   {Endpoint: "/a", CNIConfDir: "net.d"},
		"shim alone":        {Endpoint: "/a", Shim: "/shim"},
	} {
		if _, err := Open(c); err == nil || !strings.HasPrefix(err.Error(), "check configuration: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
