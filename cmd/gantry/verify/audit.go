package verify

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/google/nftables"
	"github.com/moby/sys/mountinfo"
	"github.com/vishvananda/netlink"
)

// audit lists what a plugin that was stopped has left on the machine.
func (b *bed) audit() []string {
	return slices.Concat(b.processes(), b.mounts(), cgroups(), interfaces())
}

func (b *bed) processes() []string {
	var out []string
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err != nil || pid == os.Getpid() {
			continue
		}
		raw, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if text := strings.ReplaceAll(string(raw), "\x00", " "); err == nil && strings.Contains(text, b.dir+"/") {
			out = append(out, "process "+e.Name()+": "+text)
		}
	}
	return out
}

func (b *bed) mounts() []string {
	mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(b.dir))
	if err != nil {
		return []string{err.Error()}
	}
	var out []string
	for _, m := range mounts {
		out = append(out, "mount "+m.Mountpoint)
	}
	return out
}

// cgroups removes the empty one that sandboxes were put into; what is not empty is left.
func cgroups() []string {
	var out []string
	roots, _ := filepath.Glob("/sys/fs/cgroup/*" + cgroup)
	for _, root := range append(roots, "/sys/fs/cgroup"+cgroup) {
		var dirs []string
		_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append(dirs, path)
			}
			return nil
		})
		for _, dir := range slices.Backward(dirs) {
			if err := os.Remove(dir); err != nil && !os.IsNotExist(err) {
				out = append(out, "cgroup "+dir)
			}
		}
	}
	return out
}

// interfaces looks at a network namespace that had nothing but loopback before.
func interfaces() []string {
	var out []string
	links, err := netlink.LinkList()
	if err != nil {
		out = append(out, err.Error())
	}
	for _, l := range links {
		if l.Attrs().Name != "lo" {
			out = append(out, "interface "+l.Attrs().Name)
		}
	}
	tables, err := (&nftables.Conn{}).ListTables()
	if err != nil {
		out = append(out, fmt.Sprintf("list nftables tables: %v", err))
	}
	for _, t := range tables {
		out = append(out, "nftables table "+t.Name)
	}
	return out
}
