//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/google/nftables"
	"github.com/moby/sys/mountinfo"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/gantryio/gantry/interfaces/plugin/plugintest"
)

// leftovers lists what the machine still has of a cluster that is down.
func (c *cluster) leftovers() []string {
	out := append(c.processesLeft(), c.filesLeft()...)
	if c.netns == "" {
		return append(out, networkLeft()...)
	}
	err := plugintest.In(c.netns, func() error {
		out = append(out, networkLeft()...)
		return nil
	})
	if err != nil {
		out = append(out, err.Error())
	}
	return out
}

func (c *cluster) processesLeft() []string {
	var out []string
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err != nil || pid == os.Getpid() {
			continue
		}
		raw, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if text := strings.ReplaceAll(string(raw), "\x00", " "); err == nil && (strings.Contains(text, c.dir) || strings.Contains(text, c.id())) {
			out = append(out, "process "+e.Name()+": "+text)
		}
	}
	return out
}

func (c *cluster) filesLeft() []string {
	var out []string
	mounts, err := mountinfo.GetMounts(func(m *mountinfo.Info) (skip, stop bool) {
		return !strings.HasPrefix(m.Mountpoint, c.dir+"/") && !strings.Contains(m.Mountpoint, c.id()), false
	})
	if err != nil {
		out = append(out, err.Error())
	}
	for _, m := range mounts {
		out = append(out, "mount "+m.Mountpoint)
	}
	for _, pattern := range []string{
		"/sys/fs/cgroup/" + c.id(), "/sys/fs/cgroup/*/" + c.id(), "/run/" + c.id(),
		c.dir + "/run", c.dir + "/plugins", c.dir + "/ledger", c.dir + "/kubelet", c.dir + "/logs",
	} {
		found, _ := filepath.Glob(pattern)
		out = append(out, found...)
	}
	return out
}

// networkLeft looks at a network namespace that had nothing but loopback before.
func networkLeft() []string {
	var out []string
	problem := func(err error) {
		if err != nil {
			out = append(out, err.Error())
		}
	}
	links, err := netlink.LinkList()
	problem(err)
	for _, l := range links {
		if l.Attrs().Name != "lo" {
			out = append(out, "interface "+l.Attrs().Name)
		}
		addrs, err := netlink.AddrList(l, netlink.FAMILY_ALL)
		problem(err)
		for _, a := range addrs {
			if !a.IP.IsLoopback() {
				out = append(out, fmt.Sprintf("address %s of %s", a.IPNet, l.Attrs().Name))
			}
		}
	}
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{}, netlink.RT_FILTER_TABLE)
	problem(err)
	for _, r := range routes {
		if r.Table != unix.RT_TABLE_LOCAL && (r.Dst == nil || !r.Dst.IP.IsLoopback()) {
			out = append(out, "route "+r.String())
		}
	}
	rules, err := netlink.RuleList(netlink.FAMILY_V4)
	problem(err)
	if len(rules) > 3 {
		out = append(out, fmt.Sprintf("rules %v", rules))
	}
	tables, err := (&nftables.Conn{}).ListTables()
	problem(err)
	for _, t := range tables {
		out = append(out, "nftables table "+t.Name)
	}
	return out
}
