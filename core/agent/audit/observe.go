package audit

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/moby/sys/mountinfo"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// observe looks at the machine, in the network namespace of this process.
func observe(p Place) (machine, error) {
	m := machine{cgroups: p.Cgroups.Pods()}
	err := errors.Join(m.observeLinks(), m.observeRoutes(), m.observeTables(p), m.observeMounts(p), m.observeFiles(p))
	if err != nil {
		return m, fmt.Errorf("look at the machine: %w", err)
	}
	return m, nil
}

func (m *machine) observeLinks() error {
	list, err := netlink.LinkList()
	if err != nil {
		return fmt.Errorf("list interfaces: %w", err)
	}
	names := map[int]string{}
	for _, l := range list {
		names[l.Attrs().Index] = l.Attrs().Name
	}
	for _, l := range list {
		m.links = append(m.links, link{name: l.Attrs().Name, master: names[l.Attrs().MasterIndex], bridge: l.Type() == "bridge"})
	}
	return nil
}

func (m *machine) observeRoutes() error {
	list, err := netlink.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return fmt.Errorf("list routes: %w", err)
	}
	for _, r := range list {
		if r.Dst == nil || r.Type != unix.RTN_UNICAST || r.LinkIndex == 0 {
			continue
		}
		ones, bits := r.Dst.Mask.Size()
		to, ok := netip.AddrFromSlice(r.Dst.IP)
		if !ok || ones != bits {
			continue
		}
		l, err := netlink.LinkByIndex(r.LinkIndex)
		if err != nil {
			continue // it went with its interface
		}
		m.routes = append(m.routes, route{to: to.Unmap(), link: l.Attrs().Name})
	}
	return nil
}

func (m *machine) observeTables(p Place) error {
	list, err := (&nftables.Conn{}).ListTables()
	if err != nil {
		return fmt.Errorf("list nftables tables: %w", err)
	}
	for _, t := range list {
		if p.OurTable(t.Name) && !slices.Contains(m.tables, t.Name) {
			m.tables = append(m.tables, t.Name)
		}
	}
	return nil
}

func (m *machine) observeMounts(p Place) error {
	list, err := mountinfo.GetMounts(func(i *mountinfo.Info) (skip, stop bool) {
		return !strings.HasPrefix(i.Mountpoint, p.RunDir+"/") && !strings.HasPrefix(i.Mountpoint, p.KubeletDir+"/pods/"), false
	})
	if err != nil {
		return fmt.Errorf("list mounts: %w", err)
	}
	for _, i := range list {
		if i.FSType == "nsfs" && strings.HasPrefix(i.Root, "net:") {
			m.namespaces = append(m.namespaces, i.Mountpoint)
			continue
		}
		m.mounts = append(m.mounts, i.Mountpoint)
	}
	return nil
}

func (m *machine) observeFiles(p Place) error {
	pods, err := os.ReadDir(filepath.Join(p.KubeletDir, "pods"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("list volumes: %w", err)
	}
	for _, d := range pods {
		m.volumes = append(m.volumes, d.Name())
	}
	for _, dir := range p.AddressDirs {
		files, err := filepath.Glob(filepath.Join(dir, "*", "*"))
		if err != nil {
			return fmt.Errorf("list addresses: %w", err)
		}
		for _, f := range files {
			if _, err := netip.ParseAddr(filepath.Base(f)); err != nil {
				continue // host-local's lock, or what it gave out last
			}
			sandbox, err := reservedFor(f)
			if err != nil {
				return err
			}
			if sandbox != "" {
				m.addresses = append(m.addresses, address{file: f, sandbox: sandbox})
			}
		}
	}
	return nil
}

// reservedFor reads whose address a file of host-local is; "" when it is gone or not written yet.
func reservedFor(file string) (string, error) {
	raw, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read address: %w", err)
	}
	id, _, _ := strings.Cut(string(raw), "\n")
	return strings.TrimSpace(id), nil
}
