// Package cni is the network plugin that runs CNI plugins through libcni: any conflist, or by default a
// bridge with host-local addresses from the node's pod range. It writes down each sandbox before it calls
// a CNI plugin, so that Detach works whatever became of the namespace, the caller or this process.
package cni

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"
	"golang.org/x/sys/unix"

	"github.com/gantryio/gantry/interfaces/network"
	"github.com/gantryio/gantry/interfaces/plugin"
)

// Config is what the host gives the plugin. Dir and BinDirs are needed.
type Config struct {
	// Dir keeps records, libcni's cache and the addresses that host-local gave out.
	Dir string `json:"dir"`
	// BinDirs have the CNI executables.
	BinDirs []string `json:"binDirs"`
	// Addresses keeps what host-local gave out of the node's pod ranges; it is below Dir when empty. Instances that
	// run side by side share it, so that no address is given twice, and nobody removes it.
	Addresses string `json:"addresses,omitempty"`
	// Conflist is the path of a CNI network list, List is one itself; without either it is the bridge below. Where a
	// list leaves out the ranges of host-local, they are those of Subnet or else of the node; in the latter case the
	// list is called gantry, because host-local keeps addresses by that name.
	Conflist string          `json:"conflist,omitempty"`
	List     json.RawMessage `json:"list,omitempty"`
	// Subnet is the range to use in place of the node's pod ranges. Only networks with one can give further
	// interfaces.
	Subnet netip.Prefix `json:"subnet,omitzero"`
	// Bridge is the name of the default bridge; DefaultBridge when empty.
	Bridge string `json:"bridge,omitempty"`
	// MTU of the default bridge's interfaces; the kernel's choice when 0.
	MTU int `json:"mtu,omitempty"`
}

// DefaultBridge is the bridge of a configuration that names none.
const DefaultBridge = "gantry0"

// BridgeName is the bridge that is made if no list is given.
func (c Config) BridgeName() string { return cmp.Or(c.Bridge, DefaultBridge) }

// builtin tells that the network is the bridge and not a list of somebody else.
func (c Config) builtin() bool { return c.Conflist == "" && len(c.List) == 0 }

// Network is the running plugin.
type Network struct {
	config Config
	runner *libcni.CNIConfig

	// calls is held for reading while a sandbox is attached or detached, and for writing by the garbage collection.
	calls sync.RWMutex

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
	if c.Addresses == "" {
		c.Addresses = filepath.Join(c.Dir, "addresses")
	}
	c.Bridge = c.BridgeName()
	n := &Network{config: c, locks: map[string]*lock{}}
	n.runner = libcni.NewCNIConfigWithCacheDir(c.BinDirs, n.path("cache"), nil)
	if err := os.MkdirAll(n.path("sandboxes"), 0o700); err != nil {
		return nil, fmt.Errorf("open cni: %w", err)
	}
	if c.Conflist != "" && len(c.List) > 0 {
		return nil, fmt.Errorf("open cni: both conflist and list are given: %w", plugin.ErrInvalid)
	}
	if _, err := n.list(anySandbox()); err != nil {
		return nil, err
	}
	return n, nil
}

func (n *Network) path(elements ...string) string {
	return filepath.Join(append([]string{n.config.Dir}, elements...)...)
}

// Attach implements network.Network.
func (n *Network) Attach(ctx context.Context, s network.Sandbox) (network.Attachment, error) {
	if err := checkID(s.ID); err != nil {
		return network.Attachment{}, err
	}
	n.calls.RLock()
	defer n.calls.RUnlock()
	defer n.lock(s.ID)()
	old, err := n.read(s.ID)
	if err != nil {
		return network.Attachment{}, err
	}
	if old != nil && old.Result != nil && old.Sandbox.NetNS == s.NetNS {
		return *old.Result, n.connect(old)
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
	if err := n.add(ctx, r, list); err != nil {
		// What the first plugins of the list have made is taken away at once, whatever became of the caller.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
		defer cancel()
		return network.Attachment{}, errors.Join(fmt.Errorf("attach %s: %w", s.ID, err), n.remove(ctx, r))
	}
	return *r.Result, nil
}

// cleanupTimeout bounds what is done after an attach has failed.
const cleanupTimeout = 20 * time.Second

// add lets the CNI plugins attach what a record stands for.
func (n *Network) add(ctx context.Context, r *record, list *libcni.NetworkConfigList) error {
	result, err := n.runner.AddNetworkList(ctx, list, runtimeConf(r.Sandbox))
	if err != nil {
		return translate(err)
	}
	a, err := attachment(result)
	if err != nil {
		return err
	}
	r.Result = &a
	if err := n.write(r); err != nil {
		return err
	}
	return n.connect(r)
}

// Detach implements network.Network.
func (n *Network) Detach(ctx context.Context, s network.Sandbox) error {
	if err := checkID(s.ID); err != nil {
		return err
	}
	n.calls.RLock()
	defer n.calls.RUnlock()
	defer n.lock(s.ID)()
	r, err := n.read(s.ID)
	if err != nil || r == nil {
		return err
	}
	return n.remove(ctx, r)
}

// remove takes a sandbox down and forgets it. CNI plugins whose executables are missing do not keep the others from
// being asked; if they took part in the attach, the sandbox is remembered until they have been asked, too.
func (n *Network) remove(ctx context.Context, r *record) error {
	list, err := libcni.NetworkConfFromBytes(r.List)
	if err != nil {
		return fmt.Errorf("detach %s: %w", r.Sandbox.ID, err)
	}
	conf := runtimeConf(r.Sandbox)
	if !isNamespace(conf.NetNS) {
		conf.NetNS = "" // The interfaces went with the namespace; addresses and rules did not.
	}
	if err := n.disconnect(r); err != nil {
		return fmt.Errorf("detach %s: %w", r.Sandbox.ID, err)
	}
	var missing []string
	list.Plugins = slices.DeleteFunc(list.Plugins, func(p *libcni.PluginConfig) bool {
		gone := !n.executable(p.Network.Type)
		if gone {
			missing = append(missing, p.Network.Type)
		}
		return gone
	})
	if err := n.runner.DelNetworkList(ctx, list, conf); err != nil {
		return fmt.Errorf("detach %s: %w", r.Sandbox.ID, translate(err))
	}
	if len(missing) > 0 && r.Result != nil {
		return fmt.Errorf("detach %s: find CNI plugins %q in %v: %w", r.Sandbox.ID, missing, n.config.BinDirs, plugin.ErrNotFound)
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

// Status implements network.Network: the executables of the list are there, and those that can be asked are well.
func (n *Network) Status(ctx context.Context) error {
	list, err := n.list(anySandbox())
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
	if err := n.runner.GetStatusNetworkList(ctx, list); err != nil {
		return fmt.Errorf("get CNI status: %w", translate(err))
	}
	return nil
}

func (n *Network) executable(name string) bool {
	return slices.ContainsFunc(n.config.BinDirs, func(dir string) bool {
		info, err := os.Stat(filepath.Join(dir, name))
		return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
	})
}

// List implements network.Network. What the CNI plugins have of sandboxes without a record is collected before.
func (n *Network) List(ctx context.Context) ([]string, error) {
	ids, err := n.recorded()
	if err != nil {
		return nil, err
	}
	if n.calls.TryLock() { // Otherwise it is done another time: nobody shall wait for it.
		err = n.collect(ctx)
		n.calls.Unlock()
	}
	if err != nil {
		slog.Warn("cannot collect what CNI plugins have left", "err", err)
	}
	return ids, nil
}

func (n *Network) recorded() ([]string, error) {
	files, err := os.ReadDir(n.path("sandboxes"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil // Stop has removed all.
	}
	if err != nil {
		return nil, fmt.Errorf("list sandboxes: %w", err)
	}
	var ids []string
	for _, f := range files {
		ids = append(ids, f.Name())
	}
	return ids, nil
}

// collect runs CNI's GC with what is recorded. It is called with calls held for writing.
func (n *Network) collect(ctx context.Context) error {
	ids, err := n.recorded()
	if err != nil {
		return err
	}
	list, err := n.list(anySandbox())
	if err != nil {
		return err
	}
	valid := []types.GCAttachment{}
	for _, id := range ids {
		r, err := n.read(id)
		if err != nil {
			return err
		}
		if r != nil {
			valid = append(valid, types.GCAttachment{ContainerID: id, IfName: runtimeConf(r.Sandbox).IfName})
		}
	}
	if err := n.runner.GCNetworkList(ctx, list, &libcni.GCArgs{ValidAttachments: valid}); err != nil {
		return fmt.Errorf("collect CNI garbage: %w", err)
	}
	return nil
}

// Stop implements plugin.Stopper: it detaches what is left and removes the default bridge.
func (n *Network) Stop(ctx context.Context) error {
	ids, err := n.recorded()
	errs := []error{err}
	for _, id := range ids {
		errs = append(errs, n.Detach(ctx, network.Sandbox{ID: id}))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if n.config.builtin() {
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
