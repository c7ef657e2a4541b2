// Package cni is the network plugin that runs CNI plugins through libcni: any conflist, or by default a
// bridge with host-local addresses from the node's pod range. It writes down each sandbox before it calls
// a CNI plugin, so that Detach works whatever became of the namespace, the caller or this process.
package cni

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"golang.org/x/sys/unix"

	"github.com/gantryio/gantry/interfaces/network"
	"github.com/gantryio/gantry/interfaces/plugin"
)

// Config is what the host gives the plugin. Dir and BinDirs are needed.
type Config struct {
	// Dir keeps records, libcni's cache and the addresses that host-local gave out.
	Dir string
	// BinDirs have the CNI executables.
	BinDirs []string
	// Conflist is the path of a CNI network list; the bridge below when empty.
	Conflist string
	// Bridge is the name of the default bridge; gantry0 when empty.
	Bridge string
	// MTU of the default bridge's interfaces; the kernel's choice when 0.
	MTU int
}

// Network is the running plugin.
type Network struct {
	config Config
	runner *libcni.CNIConfig

	mu    sync.Mutex
	locks map[string]*lock
}

var (
	_ network.Network = (*Network)(nil)
	_ plugin.Stopper  = (*Network)(nil)
)

// Open checks the configuration and makes the folders.
func Open(c Config) (*Network, error) {
	if !filepath.IsAbs(c.Dir) || len(c.BinDirs) == 0 {
		return nil, fmt.Errorf("open cni: Dir is %q and BinDirs %q, want both: %w", c.Dir, c.BinDirs, plugin.ErrInvalid)
	}
	if c.Bridge == "" {
		c.Bridge = "gantry0"
	}
	n := &Network{config: c, locks: map[string]*lock{}}
	n.runner = libcni.NewCNIConfigWithCacheDir(c.BinDirs, n.path("cache"), nil)
	if err := os.MkdirAll(n.path("sandboxes"), 0o700); err != nil {
		return nil, fmt.Errorf("open cni: %w", err)
	}
	if c.Conflist != "" {
		if _, err := n.list(network.Sandbox{}); err != nil {
			return nil, err
		}
	}
	return n, nil
}

func (n *Network) path(elements ...string) string {
	return filepath.Join(append([]string{n.config.Dir}, elements...)...)
}

// record is what is written down of a sandbox.
type record struct {
	Sandbox network.Sandbox `json:"sandbox"`
	// List is the network list as it was used: a later configuration must not change the detach.
	List json.RawMessage `json:"list"`
	// Result is set when the CNI plugins have succeeded.
	Result *network.Attachment `json:"result,omitempty"`
}

func (n *Network) recordFile(id string) string { return n.path("sandboxes", id) }

func (n *Network) read(id string) (*record, error) {
	raw, err := os.ReadFile(n.recordFile(id))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read record of %s: %w", id, err)
	}
	var r record
	if err := json.Unmarshal(raw, &r); err != nil {
		return nil, fmt.Errorf("read record of %s: %w", id, err)
	}
	return &r, nil
}

func (n *Network) write(r *record) error {
	raw, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("write record of %s: %w", r.Sandbox.ID, err)
	}
	file := n.recordFile(r.Sandbox.ID)
	temporary := n.path("." + r.Sandbox.ID)
	if err := os.WriteFile(temporary, raw, 0o600); err != nil {
		return fmt.Errorf("write record of %s: %w", r.Sandbox.ID, err)
	}
	if err := os.Rename(temporary, file); err != nil {
		return fmt.Errorf("write record of %s: %w", r.Sandbox.ID, err)
	}
	return nil
}

// Attach implements network.Network.
func (n *Network) Attach(ctx context.Context, s network.Sandbox) (network.Attachment, error) {
	if err := checkID(s.ID); err != nil {
		return network.Attachment{}, err
	}
	defer n.lock(s.ID)()
	old, err := n.read(s.ID)
	if err != nil {
		return network.Attachment{}, err
	}
	if old != nil && old.Result != nil && old.Sandbox.NetNS == s.NetNS {
		return *old.Result, nil
	}
	if old != nil {
		if err := n.remove(ctx, old); err != nil {
			return network.Attachment{}, err
		}
	}
	list, err := n.list(s)
	if err != nil {
		return network.Attachment{}, err
	}
	r := &record{Sandbox: s, List: list.Bytes}
	if err := n.write(r); err != nil {
		return network.Attachment{}, err
	}
	result, err := n.runner.AddNetworkList(ctx, list, runtimeConf(s))
	if err != nil {
		return network.Attachment{}, fmt.Errorf("attach %s: %w", s.ID, translate(err))
	}
	a, err := attachment(result)
	if err != nil {
		return network.Attachment{}, fmt.Errorf("attach %s: %w", s.ID, err)
	}
	if n.config.Conflist == "" {
		if err := filterBridged(); err != nil {
			return network.Attachment{}, fmt.Errorf("attach %s: %w", s.ID, err)
		}
	}
	r.Result = &a
	return a, n.write(r)
}

// Detach implements network.Network.
func (n *Network) Detach(ctx context.Context, s network.Sandbox) error {
	if err := checkID(s.ID); err != nil {
		return err
	}
	defer n.lock(s.ID)()
	r, err := n.read(s.ID)
	if err != nil || r == nil {
		return err
	}
	return n.remove(ctx, r)
}

// remove takes a sandbox down and forgets it.
func (n *Network) remove(ctx context.Context, r *record) error {
	list, err := libcni.NetworkConfFromBytes(r.List)
	if err != nil {
		return fmt.Errorf("detach %s: %w", r.Sandbox.ID, err)
	}
	conf := runtimeConf(r.Sandbox)
	if !isNamespace(conf.NetNS) {
		conf.NetNS = "" // The interfaces went with the namespace; addresses and rules did not.
	}
	if err := n.runner.DelNetworkList(ctx, list, conf); err != nil {
		return fmt.Errorf("detach %s: %w", r.Sandbox.ID, translate(err))
	}
	if err := os.Remove(n.recordFile(r.Sandbox.ID)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("detach %s: %w", r.Sandbox.ID, err)
	}
	return nil
}

// Check implements network.Network.
func (n *Network) Check(ctx context.Context, s network.Sandbox) error {
	if err := checkID(s.ID); err != nil {
		return err
	}
	defer n.lock(s.ID)()
	r, err := n.read(s.ID)
	if err != nil {
		return err
	}
	if r == nil || r.Result == nil {
		return fmt.Errorf("check %s: %w", s.ID, plugin.ErrNotFound)
	}
	list, err := libcni.NetworkConfFromBytes(r.List)
	if err != nil {
		return fmt.Errorf("check %s: %w", s.ID, err)
	}
	if err := n.runner.CheckNetworkList(ctx, list, runtimeConf(r.Sandbox)); err != nil {
		return fmt.Errorf("check %s: %w: %w", s.ID, err, plugin.ErrNotFound)
	}
	return nil
}

// Status implements network.Network: the executables of the list are there.
func (n *Network) Status(context.Context) error {
	list, err := n.list(network.Sandbox{PodCIDRs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24")}})
	if err != nil {
		return err
	}
	for _, p := range list.Plugins {
		for _, name := range []string{p.Network.Type, p.Network.IPAM.Type} {
			if name != "" && !n.executable(name) {
				return fmt.Errorf("find CNI plugin %q in %v: %w", name, n.config.BinDirs, plugin.ErrNotFound)
			}
		}
	}
	return nil
}

func (n *Network) executable(name string) bool {
	return slices.ContainsFunc(n.config.BinDirs, func(dir string) bool {
		info, err := os.Stat(filepath.Join(dir, name))
		return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
	})
}

// List implements network.Network.
func (n *Network) List(context.Context) ([]string, error) {
	files, err := os.ReadDir(n.path("sandboxes"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("list sandboxes: %w", err)
	}
	var ids []string
	for _, f := range files {
		ids = append(ids, f.Name())
	}
	return ids, nil
}

// Stop implements plugin.Stopper: it detaches what is left and removes the default bridge.
func (n *Network) Stop(ctx context.Context) error {
	ids, err := n.List(ctx)
	errs := []error{err}
	for _, id := range ids {
		errs = append(errs, n.Detach(ctx, network.Sandbox{ID: id}))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if n.config.Conflist == "" {
		if err := removeLink(n.config.Bridge); err != nil {
			return err
		}
	}
	return os.RemoveAll(n.config.Dir)
}

// isNamespace says whether a path still is a namespace, and not just the file that one was mounted on.
func isNamespace(path string) bool {
	var fs unix.Statfs_t
	return path != "" && unix.Statfs(path, &fs) == nil && (fs.Type == unix.NSFS_MAGIC || fs.Type == unix.PROC_SUPER_MAGIC)
}

func checkID(id string) error {
	if id == "" || strings.ContainsAny(id, "/\x00") || strings.HasPrefix(id, ".") {
		return fmt.Errorf("check sandbox ID %q: %w", id, plugin.ErrInvalid)
	}
	return nil
}

// translate gives CNI's errors (CNI specification, "Error") our meaning.
func translate(err error) error {
	var e *types.Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.Code {
	case types.ErrTryAgainLater:
		return fmt.Errorf("%w: %w", err, plugin.ErrUnavailable)
	case types.ErrInvalidNetworkConfig, types.ErrInvalidEnvironmentVariables, types.ErrIncompatibleCNIVersion:
		return fmt.Errorf("%w: %w", err, plugin.ErrInvalid)
	}
	return err
}

func attachment(result types.Result) (network.Attachment, error) {
	r, err := types100.NewResultFromResult(result)
	if err != nil {
		return network.Attachment{}, fmt.Errorf("read CNI result: %w", err)
	}
	var a network.Attachment
	for _, i := range r.Interfaces {
		a.Interfaces = append(a.Interfaces, network.Interface{Name: i.Name, MAC: i.Mac, NetNS: i.Sandbox})
	}
	for _, ip := range r.IPs {
		addr, _ := netip.AddrFromSlice(ip.Address.IP)
		ones, _ := ip.Address.Mask.Size()
		d := network.Address{Prefix: netip.PrefixFrom(addr.Unmap(), ones), Interface: -1}
		if gateway, ok := netip.AddrFromSlice(ip.Gateway); ok {
			d.Gateway = gateway.Unmap()
		}
		if ip.Interface != nil {
			d.Interface = *ip.Interface
		}
		a.Addresses = append(a.Addresses, d)
	}
	for _, route := range r.Routes {
		addr, _ := netip.AddrFromSlice(route.Dst.IP)
		ones, _ := route.Dst.Mask.Size()
		out := network.Route{Destination: netip.PrefixFrom(addr.Unmap(), ones)}
		if gateway, ok := netip.AddrFromSlice(route.GW); ok {
			out.Gateway = gateway.Unmap()
		}
		a.Routes = append(a.Routes, out)
	}
	for _, text := range r.DNS.Nameservers {
		if addr, err := netip.ParseAddr(text); err == nil {
			a.Nameservers = append(a.Nameservers, addr)
		}
	}
	return a, nil
}
