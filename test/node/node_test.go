//go:build e2e

// Package node_test runs the lower half of a node for real: plugin processes, containerd, runc, CNI, the shim and
// the attach server, in a network namespace of its own.
package node_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/moby/sys/mountinfo"
	"github.com/vishvananda/netlink"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/gantryio/gantry/core/agent/attach"
	"github.com/gantryio/gantry/core/pluginhost"
	"github.com/gantryio/gantry/core/pluginhost/ledger"
	"github.com/gantryio/gantry/interfaces/plugin"
	"github.com/gantryio/gantry/interfaces/plugin/plugintest"
	"github.com/gantryio/gantry/interfaces/plugin/process"
	"github.com/gantryio/gantry/interfaces/runtime"
	"github.com/gantryio/gantry/interfaces/runtime/runtimetest"
	"github.com/gantryio/gantry/plugins/network/cni"
	"github.com/gantryio/gantry/plugins/runtime/containerd"
)

func TestMain(m *testing.M) { os.Exit(plugintest.Isolate(m)) }

const (
	demo   = "gantry.local/demo:1"
	cgroup = "/gantry-e2e"
)

// node is one node; stop it with down.
type node struct {
	dir    string
	config pluginhost.Config

	host   *pluginhost.Host
	attach *attach.Server
	cancel context.CancelFunc
	parts  sync.WaitGroup
}

// root is the repository.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, needed := range []string{"bin/stack/containerd", "bin/images/pause.tar"} {
		if _, err := os.Stat(filepath.Join(dir, needed)); err != nil {
			t.Skipf("%s is not built", needed)
		}
	}
	return dir
}

// newNode starts a node with the shipped plugins and those that more makes of its folder.
func newNode(t *testing.T, more ...func(dir string) pluginhost.Plugin) *node {
	t.Helper()
	repo := root(t)
	dir, err := os.MkdirTemp("", "ge")
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(dir, "bin")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", bin+"/",
		"./cmd/plugin-runtime-containerd", "./cmd/plugin-runtime-cri", "./cmd/plugin-network-cni", "./cmd/gantry-cni")
	build.Dir = repo
	if err := os.MkdirAll(bin, 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	n := &node{dir: dir}
	n.config = pluginhost.Config{
		Dir: bin, StateDir: filepath.Join(dir, "plugins"), RunDir: filepath.Join(dir, "run"),
		Plugins: []pluginhost.Plugin{
			{Kind: plugin.Runtime, Name: "containerd", Handlers: []string{"runc"}, Config: containerd.Config{
				Root: filepath.Join(dir, "containerd"), State: filepath.Join(dir, "c"), Stack: filepath.Join(repo, "bin/stack"),
				PauseArchive: filepath.Join(repo, "bin/images/pause.tar"), Shim: filepath.Join(bin, "gantry-cni"), AttachSocket: filepath.Join(dir, "attach.sock"),
			}},
			{Kind: plugin.Network, Name: "cni", Config: cni.Config{
				Dir: filepath.Join(dir, "cni"), BinDirs: []string{filepath.Join(repo, "bin/stack/cni")},
			}},
		},
	}
	for _, plugin := range more {
		n.config.Plugins = append(n.config.Plugins, plugin(dir))
	}
	n.up(t)
	t.Cleanup(func() { n.down(t) })
	return n
}

// networks is the only one.
type networks struct{ *pluginhost.Host }

// Networks implements attach.Networks.
func (networks) Networks() []string { return []string{"cni"} }

// up starts an agent's share of the node.
func (n *node) up(t *testing.T) {
	t.Helper()
	var err error
	if n.host, err = pluginhost.New(n.config); err != nil {
		t.Fatal(err)
	}
	l, err := ledger.Open(filepath.Join(n.dir, "ledger"))
	if err != nil {
		t.Fatal(err)
	}
	n.attach = &attach.Server{
		Socket: filepath.Join(n.dir, "attach.sock"), Networks: networks{n.host}, Ledger: l,
		PodCIDRs: func() []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix("10.244.9.0/24")} },
	}
	ctx, cancel := context.WithCancel(context.Background())
	n.cancel = cancel
	n.parts.Go(func() { _ = n.host.Run(ctx) })
	n.parts.Go(func() { _ = n.attach.Run(ctx) })
	ready, done := context.WithTimeout(context.Background(), 30*time.Second)
	defer done()
	if err := n.host.Ready(ready); err != nil {
		t.Fatal(err)
	}
}

// away ends the agent's share; plugins and containers go on.
func (n *node) away() { n.cancel(); n.parts.Wait() }

func (n *node) runtime(t *testing.T) *runtime.Client {
	t.Helper()
	r, _, _, err := n.host.Runtime("")
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// down takes the node down and checks that nothing is left.
func (n *node) down(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	n.away()
	serving, stop := context.WithCancel(ctx)
	n.parts.Go(func() { _ = n.attach.Run(serving) })
	n.parts.Go(func() { _ = n.host.Run(serving) })
	_ = n.host.Ready(ctx)
	r := n.runtime(t)
	list, err := r.ListPodSandbox(ctx, &runtimeapi.ListPodSandboxRequest{})
	if err != nil {
		t.Error(err)
	}
	for _, s := range list.GetItems() {
		_, err1 := r.StopPodSandbox(ctx, &runtimeapi.StopPodSandboxRequest{PodSandboxId: s.GetId()})
		_, err2 := r.RemovePodSandbox(ctx, &runtimeapi.RemovePodSandboxRequest{PodSandboxId: s.GetId()})
		if err1 != nil || err2 != nil {
			t.Error(err1, err2)
		}
	}
	stop()
	n.parts.Wait()
	if err := n.host.Stop(ctx); err != nil {
		t.Error(err)
	}
	n.nothingLeft(t)
	if t.Failed() {
		t.Logf("kept %s", n.dir)
		return
	}
	if err := os.RemoveAll(n.dir); err != nil {
		t.Error(err)
	}
	removeCgroups(t)
}

func (n *node) nothingLeft(t *testing.T) {
	t.Helper()
	mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(n.dir))
	if err != nil || len(mounts) != 0 {
		t.Errorf("mounts left: %v, %v", mounts, err)
	}
	links, err := netlink.LinkList()
	if err != nil || len(links) != 1 {
		t.Errorf("links left: %v, %v", links, err)
	}
	if left := n.attach.Ledger.List(); len(left) != 0 {
		t.Errorf("ledger entries left: %v", left)
	}
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		if raw, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline")); err == nil && strings.Contains(string(raw), n.dir+"/") {
			t.Errorf("process %s is left: %q", e.Name(), raw)
		}
	}
}

// removeCgroups removes the parent, which belongs to whoever named it.
func removeCgroups(t *testing.T) {
	t.Helper()
	for _, pattern := range []string{"/sys/fs/cgroup" + cgroup, "/sys/fs/cgroup/*" + cgroup} {
		found, _ := filepath.Glob(pattern)
		for _, dir := range found {
			if err := removeTree(dir); err != nil {
				t.Errorf("cgroup left: %v", err)
			}
		}
	}
}

func removeTree(dir string) error {
	var dirs []string
	_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			dirs = append(dirs, path)
		}
		return nil
	})
	slices.Reverse(dirs)
	for _, d := range dirs {
		if err := os.Remove(d); err != nil {
			return err
		}
	}
	return nil
}

func (n *node) importDemo(t *testing.T) {
	t.Helper()
	names, err := n.runtime(t).Import(t.Context(), filepath.Join(root(t), "bin/images/demo-1.tar"))
	if err != nil || !slices.Contains(names, demo) {
		t.Fatalf("import: %v, %v", names, err)
	}
}

// start runs a pod with one container and returns the sandbox, the container and how long each call took.
func (n *node) start(t *testing.T, name string) (sandbox, container string, took [3]time.Duration) {
	t.Helper()
	ctx, r := t.Context(), n.runtime(t)
	config := &runtimeapi.PodSandboxConfig{
		Metadata: &runtimeapi.PodSandboxMetadata{Name: name, Namespace: "e2e", Uid: name}, Hostname: name, LogDirectory: filepath.Join(n.dir, "log", name),
		DnsConfig: &runtimeapi.DNSConfig{},
		Linux: &runtimeapi.LinuxPodSandboxConfig{CgroupParent: cgroup + "/" + name, SecurityContext: &runtimeapi.LinuxSandboxSecurityContext{
			NamespaceOptions: &runtimeapi.NamespaceOption{Pid: runtimeapi.NamespaceMode_CONTAINER},
		}},
	}
	begin := time.Now()
	sb, err := r.RunPodSandbox(ctx, &runtimeapi.RunPodSandboxRequest{Config: config})
	if err != nil {
		t.Fatal(err)
	}
	took[0], begin = time.Since(begin), time.Now()
	c, err := r.CreateContainer(ctx, &runtimeapi.CreateContainerRequest{PodSandboxId: sb.GetPodSandboxId(), SandboxConfig: config, Config: &runtimeapi.ContainerConfig{
		Metadata: &runtimeapi.ContainerMetadata{Name: "main"}, Image: &runtimeapi.ImageSpec{Image: demo}, LogPath: "main.log",
		Envs:  []*runtimeapi.KeyValue{{Key: "DEMO_LINGER", Value: []byte("0s")}},
		Linux: &runtimeapi.LinuxContainerConfig{Resources: &runtimeapi.LinuxContainerResources{CpuShares: 102, MemoryLimitInBytes: 64 << 20}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	took[1], begin = time.Since(begin), time.Now()
	if _, err := r.StartContainer(ctx, &runtimeapi.StartContainerRequest{ContainerId: c.GetContainerId()}); err != nil {
		t.Fatal(err)
	}
	took[2] = time.Since(begin)
	return sb.GetPodSandboxId(), c.GetContainerId(), took
}

func (n *node) running(t *testing.T, container string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	r := n.runtime(t)
	res, err := r.ContainerStatus(ctx, &runtimeapi.ContainerStatusRequest{ContainerId: container})
	for status.Code(err) == codes.Unavailable && ctx.Err() == nil { // It was under way when the plugin or containerd was killed.
		res, err = r.ContainerStatus(ctx, &runtimeapi.ContainerStatusRequest{ContainerId: container})
	}
	if err != nil {
		t.Fatal(err)
	}
	if got := res.GetStatus().GetState(); got != runtimeapi.ContainerState_CONTAINER_RUNNING {
		t.Errorf("container is %s", got)
	}
}

// demoPID is the process of the only demo container.
func demoPID(t *testing.T) process.ID {
	t.Helper()
	out, err := exec.Command("pgrep", "-x", "demo").Output()
	if err != nil {
		t.Fatalf("find the demo process: %v", err)
	}
	var found []process.ID
	for _, field := range strings.Fields(string(out)) {
		var pid int
		if _, err := fmt.Sscan(field, &pid); err != nil {
			t.Fatal(err)
		}
		if id, err := process.Find(pid); err == nil {
			found = append(found, id)
		}
	}
	return found[len(found)-1]
}

func pid(t *testing.T, h *pluginhost.Host, name string) int {
	t.Helper()
	for _, i := range h.Instances() {
		if i.Name == name {
			return i.PID
		}
	}
	t.Fatalf("no plugin %s", name)
	return 0
}

func kill(t *testing.T, pid int) {
	t.Helper()
	id, err := process.Find(pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := id.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// replace kills a plugin and waits until the host has another one: calls that are made before it has noticed fail, as those do that
// were under way.
func (n *node) replace(t *testing.T, name string) {
	t.Helper()
	old := pid(t, n.host, name)
	late := time.After(30 * time.Second)
	kill(t, old)
	for {
		changed := n.host.Changed()
		if slices.ContainsFunc(n.host.Instances(), func(i pluginhost.Instance) bool { return i.Name == name && i.Up && i.PID != old }) {
			return
		}
		select {
		case <-changed:
		case <-late:
			t.Fatalf("plugin %s is not launched again: %+v", name, n.host.Instances())
		}
	}
}

func TestConformance(t *testing.T) {
	n := newNode(t)
	n.importDemo(t)
	runtimetest.Suite{
		Runtime: n.runtime(t), Image: demo, Absent: "gantry.local/absent:1", LogDirectory: filepath.Join(n.dir, "log"), CgroupParent: cgroup + "/conformance",
	}.Run(t)
}

func TestContainersOutliveEverything(t *testing.T) {
	n := newNode(t)
	n.importDemo(t)
	_, container, _ := n.start(t, "outlives")
	before := demoPID(t)
	steps := []struct {
		name string
		do   func()
	}{
		{"the runtime plugin is killed", func() { n.replace(t, "containerd") }},
		{"the network plugin is killed", func() { n.replace(t, "cni") }},
		{"containerd is killed", func() { kill(t, n.containerd(t)) }},
		{"the agent is away", func() { n.away(); n.up(t) }},
		{"runtime plugin and containerd are killed while the agent is away", func() {
			n.away()
			kill(t, pid(t, n.host, "containerd"))
			kill(t, n.containerd(t))
			n.up(t)
		}},
	}
	for i, step := range steps {
		step.do()
		n.running(t, container)
		if !before.Alive() {
			t.Fatalf("%s: process %d ended", step.name, before.PID)
		}
		_, other, _ := n.start(t, fmt.Sprintf("after-%d", i))
		n.running(t, other)
	}
}

func (n *node) containerd(t *testing.T) int {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(n.dir, "c", "process.json"))
	if err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Sscanf(string(raw), `{"process":{"pid":%d`, &pid); err != nil {
		t.Fatal(err)
	}
	return pid
}

func TestStopAfterEverythingWasKilled(t *testing.T) {
	n := newNode(t)
	n.importDemo(t)
	n.start(t, "orphan")
	n.away()
	kill(t, pid(t, n.host, "containerd"))
	kill(t, pid(t, n.host, "cni"))
	kill(t, n.containerd(t))
}

// TestPodStartFigures prints how long the calls of a pod's start take; it judges nothing.
func TestPodStartFigures(t *testing.T) {
	n := newNode(t)
	n.importDemo(t)
	var sums [3]time.Duration
	const rounds = 10
	for i := range rounds {
		_, _, took := n.start(t, fmt.Sprintf("figure-%d", i))
		for k, d := range took {
			sums[k] += d
		}
	}
	t.Logf("RunPodSandbox %v, CreateContainer %v, StartContainer %v", sums[0]/rounds, sums[1]/rounds, sums[2]/rounds)
}
