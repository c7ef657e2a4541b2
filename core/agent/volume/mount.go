package volume

import (
	"errors"
	"fmt"
	"os"
	"sort"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// Mounter is what volumes need of the kernel.
type Mounter interface {
	// Tmpfs mounts a tmpfs that all may write to, of a size in bytes when it is not 0, unless one is mounted there. What is
	// made in it belongs to the group, where one is given.
	Tmpfs(dir string, size int64, gid *int64) error
	// Bind mounts a file or directory on an existing one.
	Bind(source, target string) error
	// Unmount of what is not mounted is no error.
	Unmount(target string) error
	// Under lists the mount points at and below a directory, deepest first.
	Under(dir string) ([]string, error)
}

// Kernel is the real Mounter.
type Kernel struct{}

var _ Mounter = Kernel{}

// Tmpfs implements Mounter.
func (Kernel) Tmpfs(dir string, size int64, gid *int64) error {
	if on, err := mountinfo.Mounted(dir); err != nil || on {
		return err
	}
	opts := "mode=1777"
	if gid != nil {
		opts = fmt.Sprintf("mode=3777,gid=%d", *gid)
	}
	if size > 0 {
		opts += fmt.Sprintf(",size=%d", size)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, opts); err != nil {
		return fmt.Errorf("mount tmpfs on %s: %w", dir, err)
	}
	return nil
}

// Bind implements Mounter.
func (Kernel) Bind(source, target string) error {
	if err := unix.Mount(source, target, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind %s on %s: %w", source, target, err)
	}
	return nil
}

// Unmount implements Mounter.
func (Kernel) Unmount(target string) error {
	err := unix.Unmount(target, unix.UMOUNT_NOFOLLOW)
	if errors.Is(err, unix.EBUSY) {
		err = unix.Unmount(target, unix.UMOUNT_NOFOLLOW|unix.MNT_DETACH)
	}
	if err == nil || errors.Is(err, unix.EINVAL) || errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return fmt.Errorf("unmount %s: %w", target, err)
}

// Under implements Mounter.
func (Kernel) Under(dir string) ([]string, error) {
	infos, err := mountinfo.GetMounts(mountinfo.PrefixFilter(dir))
	if err != nil {
		return nil, fmt.Errorf("list mounts: %w", err)
	}
	out := make([]string, 0, len(infos))
	for _, i := range infos {
		if i.Mountpoint == dir || strings.HasPrefix(i.Mountpoint, dir+"/") {
			out = append(out, i.Mountpoint)
		}
	}
	sort.Sort(sort.Reverse(sort.StringSlice(out)))
	return out, nil
}
