package audit

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// remove takes one finding away. What has gone meanwhile is no error.
func (a *Auditor) remove(ctx context.Context, f Finding) error {
	switch f.Kind {
	case Container:
		return a.Remover.RemoveContainer(ctx, f.Owner, f.Name)
	case Ledger:
		return a.Remover.Detach(ctx, f.Name)
	case Record:
		return a.Remover.Clear(ctx, f.Owner, f.Name)
	case Route:
		return removeRoute(f.Owner, f.Name)
	case Interface:
		return removeLink(f.Name)
	case Namespace:
		return errors.Join(unmount(f.Name), gone(os.Remove(f.Name)))
	case Address:
		return removeAddress(f.Name)
	case Table:
		return removeTable(f.Name)
	case Mount:
		return unmount(f.Name)
	case Volume:
		return removeVolume(f.Name)
	case Cgroup:
		return a.Place.Cgroups.Remove(f.Name)
	}
	return fmt.Errorf("remove %s %s: unknown kind", f.Kind, f.Name)
}

func gone(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

func find(name string) (netlink.Link, error) {
	l, err := netlink.LinkByName(name)
	var missing netlink.LinkNotFoundError
	if errors.As(err, &missing) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("find interface %s: %w", name, err)
	}
	return l, nil
}

func removeLink(name string) error {
	l, err := find(name)
	if err != nil || l == nil {
		return err
	}
	if err := netlink.LinkDel(l); err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("remove interface %s: %w", name, err)
	}
	return nil
}

func removeRoute(name, to string) error {
	l, err := find(name)
	if err != nil || l == nil {
		return err
	}
	addr, err := netip.ParseAddr(to)
	if err != nil {
		return fmt.Errorf("remove route: %w", err)
	}
	dst := &net.IPNet{IP: addr.AsSlice(), Mask: net.CIDRMask(addr.BitLen(), addr.BitLen())}
	r := &netlink.Route{LinkIndex: l.Attrs().Index, Dst: dst, Table: unix.RT_TABLE_MAIN, Scope: netlink.SCOPE_NOWHERE}
	if err := netlink.RouteDel(r); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("remove route to %s from %s: %w", to, name, err)
	}
	return nil
}

// removeAddress gives an address back, under the lock that host-local takes (flock(2) on the store's file "lock").
func removeAddress(file string) error {
	lock, err := os.OpenFile(filepath.Join(filepath.Dir(file), "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("lock addresses: %w", err)
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("lock addresses: %w", err)
	}
	return gone(os.Remove(file))
}

func removeTable(name string) error {
	conn := &nftables.Conn{}
	list, err := conn.ListTables()
	if err != nil {
		return fmt.Errorf("list nftables tables: %w", err)
	}
	for _, t := range list {
		if t.Name == name {
			conn.DelTable(t)
		}
	}
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("remove nftables table %s: %w", name, err)
	}
	return nil
}

func unmount(path string) error {
	err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("unmount %s: %w", path, err)
	}
	return nil
}

// removeVolume removes the folder of a pod's volumes, unless something is still mounted in it.
func removeVolume(dir string) error {
	m := machine{}
	if err := m.observeMounts(Place{RunDir: dir, KubeletDir: dir}); err != nil {
		return err
	}
	if len(m.mounts) > 0 {
		return fmt.Errorf("remove volumes: %s is mounted", m.mounts[0])
	}
	return os.RemoveAll(dir)
}
