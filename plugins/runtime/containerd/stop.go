package containerd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/gantryio/gantry/interfaces/plugin/process"
)

// Stop implements plugin.Stopper: it removes all sandboxes, ends containerd and leaves no process, mount
// or socket. Images stay in Root.
func (p *Plugin) Stop(ctx context.Context) error {
	asking, cancel := context.WithTimeout(ctx, removeTimeout)
	removed := p.removeSandboxes(asking)
	cancel()
	ended := p.daemon.stop(10 * time.Second)
	ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), removeTimeout)
	defer cancel()
	if err := errors.Join(ended, Cleanup(ctx, p.config)); err != nil {
		return errors.Join(removed, err)
	}
	return nil
}

// removeTimeout bounds the orderly removal; what is left after it is killed.
const removeTimeout = 20 * time.Second

func (p *Plugin) removeSandboxes(ctx context.Context) error {
	list, err := p.cri.ListPodSandbox(ctx, &runtimeapi.ListPodSandboxRequest{})
	if err != nil {
		return fmt.Errorf("list sandboxes: %w", err)
	}
	var errs []error
	for _, s := range list.GetItems() {
		if _, err := p.stopPodSandbox(ctx, &runtimeapi.StopPodSandboxRequest{PodSandboxId: s.GetId()}); err != nil {
			errs = append(errs, fmt.Errorf("stop sandbox %s: %w", s.GetId(), err))
			continue
		}
		if _, err := p.removePodSandbox(ctx, &runtimeapi.RemovePodSandboxRequest{PodSandboxId: s.GetId()}); err != nil {
			errs = append(errs, fmt.Errorf("remove sandbox %s: %w", s.GetId(), err))
		}
	}
	return errors.Join(errs...)
}

// Cleanup removes what a containerd of this configuration left on the machine: its process, containers,
// shims, mounts and State. It works when nothing of it runs any more, and is idempotent.
func Cleanup(ctx context.Context, c Config) error {
	if err := c.check(); err != nil {
		return err
	}
	var errs []error
	if r, err := readRecord(c.processFile()); err == nil {
		errs = append(errs, r.Process.End(5*time.Second))
	}
	errs = append(errs, c.deleteContainers(ctx), c.endShims(), c.unmount())
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("clean up containerd: %w", err)
	}
	if err := os.RemoveAll(c.State); err != nil {
		return fmt.Errorf("clean up containerd: %w", err)
	}
	return nil
}

// deleteContainers lets runc kill and delete each container it knows, which removes their cgroups.
func (c Config) deleteContainers(ctx context.Context) error {
	root := filepath.Join(c.runcRoot(), namespace)
	entries, err := os.ReadDir(root)
	if err != nil {
		if os.IsNotExist(err) {
			return nil
		}
		return err
	}
	var errs []error
	for _, e := range entries {
		cmd := exec.CommandContext(ctx, filepath.Join(c.Stack, "runc"), "--root", root, "delete", "--force", e.Name())
		if out, err := cmd.CombinedOutput(); err != nil {
			errs = append(errs, fmt.Errorf("delete container %s: %w: %s", e.Name(), err, out))
		}
	}
	return errors.Join(errs...)
}

// endShims kills the shims that serve this containerd, which are known by its socket in their arguments.
func (c Config) endShims() error {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		id, err := process.Find(pid)
		if err != nil || !c.isShim(pid) {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		errs = append(errs, id.Signal(unix.SIGKILL), id.Wait(ctx))
		cancel()
	}
	return errors.Join(errs...)
}

func (c Config) isShim(pid int) bool {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return false
	}
	args := strings.Split(string(raw), "\x00")
	return strings.HasSuffix(args[0], "containerd-shim-runc-v2") && slices.Contains(args, c.socket())
}

// unmount removes all mounts below State and Root, deepest first.
func (c Config) unmount() error {
	mounts, err := mountinfo.GetMounts(func(m *mountinfo.Info) (skip, stop bool) {
		return !under(m.Mountpoint, c.State) && !under(m.Mountpoint, c.Root), false
	})
	if err != nil {
		return fmt.Errorf("list mounts: %w", err)
	}
	slices.SortFunc(mounts, func(a, b *mountinfo.Info) int { return len(b.Mountpoint) - len(a.Mountpoint) })
	var errs []error
	for _, m := range mounts {
		if m.Mountpoint == c.Root || m.Mountpoint == c.State {
			continue // Somebody else's mount that holds the folder.
		}
		if err := unix.Unmount(m.Mountpoint, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
			errs = append(errs, fmt.Errorf("unmount %s: %w", m.Mountpoint, err))
		}
	}
	return errors.Join(errs...)
}
