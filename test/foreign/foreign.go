// Package foreign runs a container runtime that Gantry did not bring along, for tests that adopt one: Debian's
// containerd and runc, which are some years older than the node stack. Everything of it is in a folder of the test.
package foreign

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/gantryio/gantry/interfaces/plugin/process"
	"github.com/gantryio/gantry/interfaces/plugin/relay"
)

// patience bounds how long the runtime may take to answer.
const patience = 30 * time.Second

// Runtime is a containerd of Debian's.
type Runtime struct {
	// Socket speaks CRI. ConfDir and BinDir are where it looks for CNI.
	Socket, ConfDir, BinDir string

	root, netns, dir string
	process          process.ID
	made             bool // /run/containerd, where its shims have their sockets
}

// Start starts one in a network namespace, "" being the test's own, and ends it with the test, which must have removed
// all sandboxes by then. root is the folder that `make test-tools` has put the executables into; without them the test
// is skipped. images are docker archives that it knows from the start; the first is that of its sandboxes.
func Start(t *testing.T, root, netns, pause string, images ...string) *Runtime {
	t.Helper()
	if _, err := os.Stat(filepath.Join(root, "usr/bin/containerd")); err != nil {
		t.Skipf("Debian's containerd is not there, `make test-tools` fetches it: %v", err)
	}
	dir, err := os.MkdirTemp("", "foreign")
	if err != nil {
		t.Fatal(err)
	}
	r := &Runtime{
		Socket: filepath.Join(dir, "c.sock"), ConfDir: filepath.Join(dir, "net.d"), BinDir: filepath.Join(dir, "cni"),
		root: root, netns: netns, dir: dir,
	}
	if _, err := os.Stat("/run/containerd"); os.IsNotExist(err) {
		r.made = true
	}
	if err := os.WriteFile(filepath.Join(dir, "config.toml"), []byte(r.config(pause)), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.end(t) })
	r.Up(t)
	for _, file := range images {
		if out, err := r.command("ctr", "-a", r.Socket, "-n", "k8s.io", "images", "import", "--snapshotter", "native", file).CombinedOutput(); err != nil {
			t.Fatalf("import %s: %v\n%s", file, err, out)
		}
	}
	return r
}

func (r *Runtime) config(pause string) string {
	return strings.NewReplacer("DIR", r.dir, "PAUSE", pause, "ROOT", r.root).Replace(`
version = 2
root = "DIR/root"
state = "DIR/state"
[grpc]
  address = "DIR/c.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "DIR/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "PAUSE"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  stream_server_address = "127.0.0.1"
  [plugins."io.containerd.grpc.v1.cri".cni]
    conf_dir = "DIR/net.d"
    bin_dir = "DIR/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        BinaryName = "ROOT/usr/sbin/runc"
        Root = "DIR/runc"
`)
}

func (r *Runtime) command(name string, args ...string) *exec.Cmd {
	name = filepath.Join(r.root, "usr/bin", name)
	if r.netns != "" {
		args = append([]string{"--net=" + r.netns, name}, args...)
		name = "nsenter"
	}
	cmd := exec.Command(name, args...)
	cmd.Dir = r.dir
	cmd.Env = append(os.Environ(), "PATH="+filepath.Join(r.root, "usr/bin")+":"+filepath.Join(r.root, "usr/sbin")+":"+os.Getenv("PATH"))
	return cmd
}

// Up starts it, also after Down, and waits until it answers.
func (r *Runtime) Up(t *testing.T) {
	t.Helper()
	log, err := os.OpenFile(filepath.Join(r.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	cmd := r.command("containerd", "--config", filepath.Join(r.dir, "config.toml"))
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = cmd.Wait() }()
	if r.process, err = process.Find(cmd.Process.Pid); err != nil {
		t.Fatalf("start Debian's containerd: %v\n%s", err, r.Log())
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := r.ask(func(c runtimeapi.RuntimeServiceClient) error {
			_, err := c.Version(ctx, &runtimeapi.VersionRequest{})
			return err
		})
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("Debian's containerd does not answer: %v\n%s", err, r.Log())
		}
	}
}

func (r *Runtime) ask(what func(runtimeapi.RuntimeServiceClient) error) error {
	conn, err := relay.Dial(r.Socket)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	return what(runtimeapi.NewRuntimeServiceClient(conn))
}

// Log returns what it has logged.
func (r *Runtime) Log() string {
	raw, _ := os.ReadFile(filepath.Join(r.dir, "log"))
	return string(raw)
}

// Down kills it. Its containers go on.
func (r *Runtime) Down(t *testing.T) {
	t.Helper()
	if err := r.process.Signal(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := r.process.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(r.Socket); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
}

// Sandboxes returns how many it has, whoever made them.
func (r *Runtime) Sandboxes(t *testing.T) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var n int
	if err := r.ask(func(c runtimeapi.RuntimeServiceClient) error {
		list, err := c.ListPodSandbox(ctx, &runtimeapi.ListPodSandboxRequest{})
		n = len(list.GetItems())
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return n
}

// end ends it with all that a failed test has left in it.
func (r *Runtime) end(t *testing.T) {
	if err := r.process.End(10 * time.Second); err != nil {
		t.Error(err)
	}
	for _, id := range r.shims() {
		t.Errorf("process %d is left of Debian's containerd", id.PID)
		if err := id.End(time.Second); err != nil {
			t.Error(err)
		}
	}
	if err := r.clear(); err != nil {
		t.Error(err)
	}
	if t.Failed() {
		log := r.Log()
		t.Logf("the end of the log of Debian's containerd:\n%s", log[max(0, len(log)-4000):])
	}
	if err := os.RemoveAll(r.dir); err != nil {
		t.Error(err)
	}
}

// shims are the processes that serve its containers.
func (r *Runtime) shims() []process.ID {
	var out []process.ID
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		raw, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if err != nil || !strings.Contains(string(raw), r.Socket) {
			continue
		}
		var pid int
		if _, err := fmt.Sscan(e.Name(), &pid); err != nil {
			continue
		}
		if id, err := process.Find(pid); err == nil {
			out = append(out, id)
		}
	}
	return out
}

func (r *Runtime) clear() error {
	mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(r.dir))
	errs := []error{err}
	for i := range mounts {
		errs = append(errs, unix.Unmount(mounts[len(mounts)-1-i].Mountpoint, unix.MNT_DETACH))
	}
	if r.made {
		for _, dir := range []string{"/run/containerd/s", "/run/containerd"} {
			_ = os.Remove(dir) // It stays when somebody else has come to use it.
		}
	}
	return errors.Join(errs...)
}
