package sandbox

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	api "github.com/containerd/containerd/api/runtime/sandbox/v1"
	"github.com/containerd/containerd/v2/pkg/shutdown"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// The first thread stays with the main goroutine, so that no goroutine of a test takes the process into a namespace.
var _ = func() bool { runtime.LockOSThread(); return true }()

func TestParse(t *testing.T) {
	full := &runtimeapi.PodSandboxConfig{
		Metadata: &runtimeapi.PodSandboxMetadata{Name: "p", Attempt: 7}, Hostname: "chosen", LogDirectory: "/log",
		DnsConfig: &runtimeapi.DNSConfig{Servers: []string{"1.2.3.4"}}, Labels: map[string]string{"a": "b"},
		Linux: &runtimeapi.LinuxPodSandboxConfig{
			CgroupParent: "/pod", Sysctls: map[string]string{"net.core.somaxconn": "77", "kernel.shm_rmid_forced": "1"},
			SecurityContext: &runtimeapi.LinuxSandboxSecurityContext{
				Privileged: true, RunAsUser: &runtimeapi.Int64Value{Value: -5},
				NamespaceOptions: &runtimeapi.NamespaceOption{
					Network: runtimeapi.NamespaceMode_NODE, Pid: runtimeapi.NamespaceMode_CONTAINER, Ipc: runtimeapi.NamespaceMode_NODE, TargetId: "x",
				},
			},
		},
	}
	for name, test := range map[string]struct {
		in   *runtimeapi.PodSandboxConfig
		want config
	}{
		"nothing": {&runtimeapi.PodSandboxConfig{}, config{sysctls: map[string]string{}}},
		"all": {full, config{
			hostname: "chosen", cgroup: "/pod", network: node, ipc: node, sysctls: map[string]string{"net.core.somaxconn": "77", "kernel.shm_rmid_forced": "1"},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			raw, err := proto.Marshal(test.in)
			if err != nil {
				t.Fatal(err)
			}
			got, err := parse(raw)
			if d := cmp.Diff(test.want, got, cmp.AllowUnexported(config{})); d != "" || err != nil {
				t.Errorf("%v (-want +got):\n%s", err, d)
			}
			for end := 1; end < len(raw); end++ {
				_, _ = parse(raw[:end]) // It may fail, and ends.
			}
		})
	}
	if _, err := parse([]byte{sandboxHostname<<3 | 2, 9, 'x'}); err == nil {
		t.Error("what is cut off was read")
	}
}

// ns is the namespace of a thread.
func ns(t *testing.T, tid int, kind string) string {
	t.Helper()
	to, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", tid, kind))
	if err != nil {
		t.Fatal(err)
	}
	return to
}

// netns makes a network namespace that is at a path.
func netns(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "net")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	made := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with its namespace
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			err = unix.Mount("/proc/thread-self/ns/net", path, "", unix.MS_BIND, "")
		}
		made <- err
	}()
	if err := <-made; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(path, unix.MNT_DETACH) })
	return path
}

// within reads a file as a thread in the namespaces of another does.
func within(t *testing.T, tid int, path string) string {
	t.Helper()
	type result struct {
		raw []byte
		err error
	}
	read := make(chan result)
	go func() {
		runtime.LockOSThread()
		for kind, flag := range map[string]int{"net": unix.CLONE_NEWNET, "ipc": unix.CLONE_NEWIPC, "uts": unix.CLONE_NEWUTS} {
			f, err := os.Open(fmt.Sprintf("/proc/%d/ns/%s", tid, kind))
			if err == nil {
				err = unix.Setns(int(f.Fd()), flag)
			}
			if err != nil {
				read <- result{err: err}
				return
			}
			_ = f.Close()
		}
		raw, err := os.ReadFile(path)
		read <- result{raw, err}
	}()
	r := <-read
	if r.err != nil {
		t.Fatal(r.err)
	}
	return string(r.raw)
}

func start(t *testing.T, netns string, c *runtimeapi.PodSandboxConfig, shutdown func()) (*service, int) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("namespaces need root")
	}
	options, err := anypb.New(c)
	if err != nil {
		t.Fatal(err)
	}
	s := newService()
	s.shutdown = shutdown
	if _, err := s.CreateSandbox(t.Context(), &api.CreateSandboxRequest{SandboxID: "x", NetnsPath: netns, Options: options}); err != nil {
		t.Fatal(err)
	}
	res, err := s.StartSandbox(t.Context(), &api.StartSandboxRequest{SandboxID: "x"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = s.StopSandbox(context.Background(), &api.StopSandboxRequest{SandboxID: "x"}) })
	return s, int(res.GetPid())
}

func TestSandbox(t *testing.T) {
	down := make(chan struct{})
	s, tid := start(t, netns(t), &runtimeapi.PodSandboxConfig{
		Hostname: "chosen", Linux: &runtimeapi.LinuxPodSandboxConfig{Sysctls: map[string]string{
			"kernel.shm_rmid_forced": "1", "net.ipv4.ping_group_range": "5 6", "net/ipv4/ip_local_port_range": "2000 3000",
		}},
	}, func() { close(down) })
	for _, kind := range []string{"net", "ipc", "uts"} {
		if ns(t, tid, kind) == ns(t, os.Getpid(), kind) {
			t.Errorf("%s is the shim's own namespace", kind)
		}
	}
	if ns(t, tid, "mnt") != ns(t, os.Getpid(), "mnt") {
		t.Error("the thread has left the mount namespace")
	}
	for path, want := range map[string]string{
		"/proc/sys/kernel/hostname": "chosen\n", "/proc/sys/kernel/shm_rmid_forced": "1\n", "/proc/sys/net/ipv4/ping_group_range": "5\t6\n",
		"/proc/sys/net/ipv4/ip_unprivileged_port_start": "0\n", "/proc/sys/net/ipv4/ip_local_port_range": "2000\t3000\n",
	} {
		if got := within(t, tid, path); got != want {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
	}
	again, err := s.StartSandbox(t.Context(), &api.StartSandboxRequest{SandboxID: "x"})
	if err != nil || int(again.GetPid()) != tid {
		t.Errorf("a second start returned %v, %v", again, err)
	}
	state := func() string {
		st, err := s.SandboxStatus(t.Context(), &api.SandboxStatusRequest{SandboxID: "x"})
		if err != nil || st.GetCreatedAt() == nil {
			t.Fatal(st, err)
		}
		return st.GetState()
	}
	if got := state(); got != "SANDBOX_READY" {
		t.Errorf("it runs and is %s", got)
	}
	waited := make(chan error, 1)
	go func() {
		_, err := s.WaitSandbox(context.Background(), &api.WaitSandboxRequest{SandboxID: "x"})
		waited <- err
	}()
	for range 2 {
		if _, err := s.StopSandbox(t.Context(), &api.StopSandboxRequest{SandboxID: "x"}); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case err := <-waited:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("it has stopped and is waited for")
	}
	if got := state(); got != "SANDBOX_NOTREADY" {
		t.Errorf("it has stopped and is %s", got)
	}
	if _, err := s.StartSandbox(t.Context(), &api.StartSandboxRequest{SandboxID: "x"}); err == nil {
		t.Error("it was started after its end")
	}
	if _, err := s.ShutdownSandbox(t.Context(), &api.ShutdownSandboxRequest{SandboxID: "x"}); err != nil {
		t.Fatal(err)
	}
	select {
	case <-down:
	case <-time.After(10 * time.Second):
		t.Error("the shim was not told to end")
	}
}

// counter counts how often the shim was told to end.
type counter struct {
	shutdown.Service
	n int
}

func (c *counter) Shutdown() { c.n++ }

// A shim that is a sandbox outlives its containers, one that is none ends with them.
func TestGate(t *testing.T) {
	c, s := &counter{}, newService()
	g := gate{Service: c, sandbox: s}
	g.Shutdown()
	if c.n != 1 {
		t.Errorf("without a sandbox the shim was told to end %d times", c.n)
	}
	if _, err := s.CreateSandbox(t.Context(), &api.CreateSandboxRequest{SandboxID: "x"}); err != nil {
		t.Fatal(err)
	}
	g.Shutdown()
	if c.n != 1 {
		t.Error("the end of a container was the end of its sandbox")
	}
}

// Whoever stops a sandbox may take its network away at once. A thread may be there a moment longer, so this looks often.
func TestEndLeaves(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("namespaces need root")
	}
	path := netns(t)
	for range 200 {
		h, err := hold(path, config{ipc: node})
		if err != nil {
			t.Fatal(err)
		}
		h.end()
		if to, err := os.Readlink(fmt.Sprintf("/proc/self/task/%d/ns/net", h.tid)); err == nil && to != ns(t, os.Getpid(), "net") {
			t.Fatalf("it has ended and is in %s", to)
		}
	}
}

func TestSandboxOfTheNode(t *testing.T) {
	_, tid := start(t, "", &runtimeapi.PodSandboxConfig{Hostname: "ignored", Linux: &runtimeapi.LinuxPodSandboxConfig{
		SecurityContext: &runtimeapi.LinuxSandboxSecurityContext{NamespaceOptions: &runtimeapi.NamespaceOption{
			Network: runtimeapi.NamespaceMode_NODE, Ipc: runtimeapi.NamespaceMode_NODE,
		}},
	}}, func() {})
	for _, kind := range []string{"net", "ipc", "uts"} {
		if ns(t, tid, kind) != ns(t, os.Getpid(), kind) {
			t.Errorf("%s is not the node's", kind)
		}
	}
}

func TestStartFails(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("namespaces need root")
	}
	for name, c := range map[string]*runtimeapi.PodSandboxConfig{
		"no network namespace": {},
		"no such sysctl": {Linux: &runtimeapi.LinuxPodSandboxConfig{
			Sysctls:         map[string]string{"kernel.nonsense": "1"},
			SecurityContext: &runtimeapi.LinuxSandboxSecurityContext{NamespaceOptions: &runtimeapi.NamespaceOption{Network: runtimeapi.NamespaceMode_NODE}},
		}},
		"a sysctl that leaves its folder": {Linux: &runtimeapi.LinuxPodSandboxConfig{
			Sysctls:         map[string]string{"../x": "1"},
			SecurityContext: &runtimeapi.LinuxSandboxSecurityContext{NamespaceOptions: &runtimeapi.NamespaceOption{Network: runtimeapi.NamespaceMode_NODE}},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			options, err := anypb.New(c)
			if err != nil {
				t.Fatal(err)
			}
			s := newService()
			if _, err := s.StartSandbox(t.Context(), &api.StartSandboxRequest{SandboxID: "x"}); !errdefs.IsNotFound(errgrpc.ToNative(err)) {
				t.Errorf("start of a sandbox that was not created: %v", err)
			}
			if _, err := s.CreateSandbox(t.Context(), &api.CreateSandboxRequest{SandboxID: "x", NetnsPath: "/nowhere", Options: options}); err != nil {
				t.Fatal(err)
			}
			if _, err := s.StartSandbox(t.Context(), &api.StartSandboxRequest{SandboxID: "x"}); err == nil {
				t.Error("it started")
			}
			if st, err := s.SandboxStatus(t.Context(), &api.SandboxStatusRequest{SandboxID: "x"}); err != nil || st.GetState() != "SANDBOX_NOTREADY" {
				t.Errorf("it is %v: %v", st, err)
			}
		})
	}
}
