package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/gantryio/gantry/interfaces/network"
	"github.com/gantryio/gantry/interfaces/plugin"
)

// Config is what a Plugin object's spec.config may say. It arrives as JSON; a field that is not here is refused.
type Config struct {
	// Dir keeps which address is whose; /var/lib/gantry-routed when empty.
	Dir string `json:"dir,omitempty"`
	// Range is where addresses come from; the node's range of pods when empty. Another network plugin that gives
	// addresses on the node needs another range.
	Range string `json:"range,omitempty"`
}

// Routed is the plugin. All that it knows is in its folder and in the kernel, so that its process may be killed at any
// time, and a new one may serve beside it during an upgrade.
type Routed struct {
	dir string
	own netip.Prefix
	mu  sync.Mutex
}

var (
	_ network.Network = (*Routed)(nil)
	_ plugin.Stopper  = (*Routed)(nil)
)

// Open checks the configuration. An error of it is shown in the status of the Plugin.
func Open(c Config) (*Routed, error) {
	r := &Routed{dir: c.Dir}
	if r.dir == "" {
		r.dir = "/var/lib/gantry-routed"
	}
	if c.Range != "" {
		var err error
		if r.own, err = netip.ParsePrefix(c.Range); err != nil {
			return nil, fmt.Errorf("range: %w: %w", err, plugin.ErrInvalid)
		}
	}
	if err := os.MkdirAll(r.dir, 0o700); err != nil {
		return nil, err
	}
	return r, nil
}

// Attach implements network.Network.
func (r *Routed) Attach(ctx context.Context, s network.Sandbox) (network.Attachment, error) {
	defer r.lock()()
	if err := ctx.Err(); err != nil {
		return network.Attachment{}, err
	}
	addr, err := r.addressOf(s)
	if err != nil {
		return network.Attachment{}, err
	}
	mac, err := connect(s, hostName(s.ID), addr)
	if err != nil {
		return network.Attachment{}, fmt.Errorf("attach %s: %w", s.ID, err)
	}
	return network.Attachment{
		Interfaces: []network.Interface{{Name: interfaceOf(s), MAC: mac, NetNS: s.NetNS}},
		Addresses:  []network.Address{{Prefix: netip.PrefixFrom(addr, 32), Gateway: gateway}},
	}, nil
}

// Detach implements network.Network. The address is given back last: as long as it is taken, List names the sandbox.
func (r *Routed) Detach(_ context.Context, s network.Sandbox) error {
	defer r.lock()()
	if err := disconnect(hostName(s.ID)); err != nil {
		return fmt.Errorf("detach %s: %w", s.ID, err)
	}
	addr, known, err := r.find(s.ID)
	if err != nil || !known {
		return err
	}
	return os.Remove(r.file(addr))
}

// Check implements network.Network.
func (r *Routed) Check(_ context.Context, s network.Sandbox) error {
	defer r.lock()()
	_, known, err := r.find(s.ID)
	if err == nil && (!known || !connected(hostName(s.ID))) {
		err = fmt.Errorf("check %s: %w", s.ID, plugin.ErrNotFound)
	}
	return err
}

// Status implements network.Network.
func (r *Routed) Status(context.Context) error {
	_, err := os.Stat(r.dir)
	return err
}

// List implements network.Network.
func (r *Routed) List(context.Context) ([]string, error) {
	defer r.lock()()
	taken, err := r.taken()
	var ids []string
	for _, id := range taken {
		ids = append(ids, id)
	}
	return ids, err
}

// Stop implements plugin.Stopper: the node goes down, or the plugin is removed.
func (r *Routed) Stop(ctx context.Context) error {
	ids, err := r.List(ctx)
	for _, id := range ids {
		err = errors.Join(err, r.Detach(ctx, network.Sandbox{ID: id}))
	}
	return err
}

// lock keeps other calls out, and other processes: there are two during an upgrade.
func (r *Routed) lock() (unlock func()) {
	r.mu.Lock()
	f, err := os.Open(r.dir)
	if err == nil {
		_ = unix.Flock(int(f.Fd()), unix.LOCK_EX)
	}
	return func() { _ = f.Close(); r.mu.Unlock() }
}

func (r *Routed) file(addr netip.Addr) string { return filepath.Join(r.dir, addr.String()) }

// taken are the sandboxes by their addresses.
func (r *Routed) taken() (map[netip.Addr]string, error) {
	entries, err := os.ReadDir(r.dir)
	if err != nil {
		return nil, err
	}
	out := map[netip.Addr]string{}
	for _, e := range entries {
		addr, err := netip.ParseAddr(e.Name())
		if err != nil {
			continue
		}
		id, err := os.ReadFile(r.file(addr))
		if err != nil {
			return nil, err
		}
		out[addr] = string(id)
	}
	return out, nil
}

func (r *Routed) find(id string) (addr netip.Addr, known bool, err error) {
	taken, err := r.taken()
	for addr, owner := range taken {
		if owner == id {
			return addr, true, nil
		}
	}
	return netip.Addr{}, false, err
}

// addressOf returns a sandbox's address, and takes a free one when it has none.
func (r *Routed) addressOf(s network.Sandbox) (netip.Addr, error) {
	addr, known, err := r.find(s.ID)
	if err != nil || known {
		return addr, err
	}
	ranges := s.PodCIDRs
	if r.own.IsValid() {
		ranges = []netip.Prefix{r.own}
	}
	for _, p := range ranges {
		if !p.Addr().Is4() {
			continue
		}
		for addr := p.Masked().Addr().Next(); p.Contains(addr.Next()); addr = addr.Next() {
			if _, err := os.Stat(r.file(addr)); err == nil {
				continue
			}
			// A file is there with its content or not at all.
			if err := os.WriteFile(r.file(addr)+".new", []byte(s.ID), 0o600); err != nil {
				return addr, err
			}
			return addr, os.Rename(r.file(addr)+".new", r.file(addr))
		}
	}
	return netip.Addr{}, fmt.Errorf("no address is free in %v: %w", ranges, plugin.ErrExhausted)
}

func hostName(id string) string {
	sum := sha256.Sum256([]byte(id))
	return "rt" + hex.EncodeToString(sum[:4])
}

func interfaceOf(s network.Sandbox) string {
	if s.Interface == "" {
		return network.DefaultInterface
	}
	return s.Interface
}
