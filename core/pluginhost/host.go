// Package pluginhost finds, verifies, launches, reattaches, watches and restarts plugins. Plugins outlive
// the host: when a host starts it attaches to those that run already, so that pods never notice that the
// agent was away.
package pluginhost

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/gantryio/gantry/core/pluginhost/artifact"
	"github.com/gantryio/gantry/interfaces/plugin"
	"github.com/gantryio/gantry/interfaces/plugin/cgroup"
)

// Config says which plugins run and where things are.
type Config struct {
	// Dir has the executables, named plugin-<kind>-<name>. If it has a file SHA256SUMS, as sha256sum(1)
	// writes it, an executable that is not as listed there is refused.
	Dir string
	// StateDir keeps what is known of running plugins, their configurations and logs.
	StateDir string
	// RunDir gets the sockets, in folders of mode 0700. Its path has at most 64 bytes.
	RunDir string
	// Plugins run, in this order: the first of each kind is the default.
	Plugins []Plugin
	// Environment is added to the plugins' environment.
	Environment []string
	// Cgroups, if set, is where each process gets a cgroup of its own.
	Cgroups *cgroup.Tree
	// Artifacts, if set, fetches plugins that are OCI artifacts.
	Artifacts *artifact.Store
	// Skew is added to the version of the wire that is spoken, for whoever wants to see what plugins do then.
	Skew int
	// LongestPause bounds the back-off before a plugin is launched again; 10 s when 0.
	LongestPause time.Duration
}

// Plugin is one plugin to run.
type Plugin struct {
	Kind plugin.Kind
	// Name is what the instance is called. Several instances may have one executable.
	Name string
	// Driver is what the executable calls itself; the name when empty.
	Driver string
	// Executable is the path of the executable, plugin-<kind>-<driver> in the host's folder when empty. SHA256, if
	// given, must be its digest in hexadecimal.
	Executable, SHA256 string
	// Image, if set, is where the executable comes from instead.
	Image *artifact.Image
	// Limits are those of the process.
	Limits cgroup.Limits
	// HealthTimeout is how long a new process may take to be healthy before the old one serves on, a minute when 0.
	// With NoRollback the old one goes then all the same.
	HealthTimeout time.Duration
	NoRollback    bool
	// Generation is handed on to Instance.
	Generation int64
	// Config is given to the plugin as JSON.
	Config any
	// Handlers are the RuntimeClass handlers that lead to this runtime, besides its name.
	Handlers []string
}

// Ref names the plugin, and its version as far as known, that a thing was made with.
type Ref struct {
	Kind    plugin.Kind `json:"kind"`
	Name    string      `json:"name"`
	Version string      `json:"version,omitempty"`
}

func (p Plugin) driver() string { return cmp.Or(p.Driver, p.Name) }

func (r Ref) String() string { return string(r.Kind) + "/" + r.Name }

// Host runs the plugins. Make one with New.
type Host struct {
	config  Config
	changes broadcast

	mu        sync.RWMutex
	instances []*instance
	// ctx is that of Run, nil before.
	ctx context.Context
	all sync.WaitGroup
}

// New checks the configuration; nothing is started. What was last given to Set in the same StateDir holds, with
// another configuration of the host as far as it does not name the plugin itself.
func New(c Config) (*Host, error) {
	const socketRoom = 43 // "/plugin-dirNNNNNNNNNN/pluginNNNNNNNNNN" and a zero byte
	if len(c.RunDir)+socketRoom > 107 {
		return nil, fmt.Errorf("check plugin host: RunDir %q is longer than %d bytes: %w", c.RunDir, 107-socketRoom, plugin.ErrInvalid)
	}
	h := &Host{config: c}
	if err := check(c.Plugins); err != nil {
		return nil, err
	}
	plugins, err := c.recall()
	if err != nil {
		return nil, err
	}
	for _, p := range plugins {
		h.instances = append(h.instances, newInstance(c, p, h.changes.notify))
	}
	return h, nil
}

func check(plugins []Plugin) error {
	seen := map[Ref]bool{}
	for _, p := range plugins {
		ref := Ref{Kind: p.Kind, Name: p.Name}
		if p.Name == "" || !slices.Contains(kinds, p.Kind) {
			return fmt.Errorf("check plugin host: %q is no plugin: %w", ref, plugin.ErrInvalid)
		}
		if seen[ref] {
			return fmt.Errorf("check plugin host: %s is listed twice: %w", ref, plugin.ErrInvalid)
		}
		seen[ref] = true
	}
	return nil
}

// Run keeps all plugins running until ctx ends. They run on afterwards.
func (h *Host) Run(ctx context.Context) error {
	if err := h.makeDirs(); err != nil {
		return err
	}
	h.mu.Lock()
	h.ctx = ctx
	for _, i := range h.instances {
		h.start(i)
	}
	h.mu.Unlock()
	<-ctx.Done()
	h.mu.Lock()
	h.ctx = nil // nothing is started any more
	h.mu.Unlock()
	h.all.Wait()
	return nil
}

// start is called with the lock held.
func (h *Host) start(i *instance) {
	if h.ctx == nil {
		return
	}
	ctx, cancel := context.WithCancel(h.ctx)
	i.cancel, i.ended = cancel, make(chan struct{})
	h.all.Go(func() {
		defer close(i.ended)
		defer cancel()
		i.run(ctx)
	})
}

// Set changes which plugins run, in this order. Those that are new are started, those whose executable or
// configuration has changed are replaced, the order of the others is taken over. Those that are not listed any more
// are taken down, with what they supervise: nobody may need them then. Set returns when they are. Those that a host could not take
// down, because it failed or died, the next host in the same StateDir has again.
func (h *Host) Set(ctx context.Context, plugins []Plugin) error {
	if err := check(plugins); err != nil {
		return err
	}
	if err := h.config.remember(append(slices.Clone(plugins), h.without(plugins)...)); err != nil {
		return err
	}
	var errs []error
	gone, changed := h.arrange(plugins)
	stay := slices.Clone(plugins)
	for _, i := range gone {
		if i.cancel != nil {
			i.cancel()
			<-i.ended
		}
		if err := i.stop(ctx); err != nil {
			errs = append(errs, err)
			stay = append(stay, i.plugin())
		}
	}
	if len(gone) > 0 {
		errs = append(errs, h.config.remember(stay))
	}
	if changed {
		h.changes.notify()
	}
	return errors.Join(errs...)
}

// without are the host's plugins but for those.
func (h *Host) without(plugins []Plugin) (others []Plugin) {
	for _, p := range h.Plugins() {
		if !slices.ContainsFunc(plugins, func(q Plugin) bool { return q.Kind == p.Kind && q.Name == p.Name }) {
			others = append(others, p)
		}
	}
	return others
}

// arrange makes plugins the instances, returns those that are no more, and tells whether anything is different.
func (h *Host) arrange(plugins []Plugin) (gone []*instance, changed bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var next []*instance
	for _, p := range plugins {
		n := slices.IndexFunc(h.instances, func(i *instance) bool { return i.id.Kind == p.Kind && i.id.Name == p.Name })
		if n < 0 {
			i := newInstance(h.config, p, h.changes.notify)
			h.start(i)
			next = append(next, i)
			continue
		}
		changed = h.instances[n].want(p) || changed
		next = append(next, h.instances[n])
	}
	for _, i := range h.instances {
		if !slices.Contains(next, i) {
			gone = append(gone, i)
		}
	}
	changed = changed || !slices.Equal(h.instances, next)
	h.instances = next
	return gone, changed
}

// Plugins returns what New and Set were given last.
func (h *Host) Plugins() []Plugin {
	var out []Plugin
	for _, i := range h.each() {
		out = append(out, i.plugin())
	}
	return out
}

// each returns the instances as they are now.
func (h *Host) each() []*instance {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.instances
}

func (h *Host) makeDirs() error {
	for _, dir := range []string{h.config.StateDir, h.config.RunDir} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("make plugin folders: %w", err)
		}
		if err := os.Chmod(dir, 0o700); err != nil {
			return fmt.Errorf("make plugin folders: %w", err)
		}
	}
	return nil
}

// Ready waits until every plugin has been reached once, or says which were not and why.
func (h *Host) Ready(ctx context.Context) error {
	for _, i := range h.each() {
		l, err := i.conn.wait(ctx)
		if err != nil {
			return err
		}
		i.conn.give(l)
	}
	return nil
}

// Instance is what is known of a plugin now.
type Instance struct {
	Ref
	// Generation and Digest, of the executable, are those of the process.
	Generation int64
	Digest     string
	// Handlers are those that a runtime says it has, and those that lead to it.
	Handlers []string
	PID      int
	// Up says that the plugin answers; Error is why not otherwise.
	Up    bool
	Error string
	// Update is how far the replacement of the process is; nil when there is none.
	Update *Update
	// Unlimited is why the process has no limits; empty when it has.
	Unlimited string
	// Source is the path of the executable where that was given.
	Source string
	// Since is when Up last changed, Restarts how often this host had to launch the plugin again.
	Since    time.Time
	Restarts int
}

// Instances returns the plugins in their configured order.
func (h *Host) Instances() []Instance {
	var out []Instance
	for _, i := range h.each() {
		out = append(out, i.describe())
	}
	return out
}

// Changed returns a channel that is closed at the next change of any instance.
func (h *Host) Changed() <-chan struct{} { return h.changes.next() }

// Stop takes down what the plugins supervise and ends them: runtimes first, for the removal of sandboxes
// needs the network. A plugin that does not run is launched for it, so that leftovers go too. Run must
// have ended.
func (h *Host) Stop(ctx context.Context) error {
	if err := h.makeDirs(); err != nil {
		return err
	}
	var errs []error
	for _, kind := range kinds {
		for _, i := range h.each() {
			if i.id.Kind == kind {
				errs = append(errs, i.stop(ctx))
			}
		}
	}
	if h.config.Cgroups != nil {
		h.config.Cgroups.Sweep()
	}
	return errors.Join(errs...)
}

// kinds are all that there are, in the order in which they are taken down.
var kinds = []plugin.Kind{plugin.Runtime, plugin.Network, plugin.Service, plugin.Scheduler}

func (c Config) protocol() int { return plugin.Protocol + c.Skew }

func sameImage(a, b *artifact.Image) bool { return a == b || a != nil && b != nil && *a == *b }

// executable is the path of a plugin's executable.
func (c Config) executable(p Plugin) string {
	return cmp.Or(p.Executable, filepath.Join(c.Dir, "plugin-"+string(p.Kind)+"-"+p.driver()))
}

func (c Config) file(r Ref, extension string) string {
	return filepath.Join(c.StateDir, string(r.Kind)+"-"+r.Name+extension)
}

// broadcast wakes everybody who waits for the next change.
type broadcast struct {
	mu   sync.Mutex
	wake chan struct{}
}

func (b *broadcast) next() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.wake == nil {
		b.wake = make(chan struct{})
	}
	return b.wake
}

func (b *broadcast) notify() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.wake != nil {
		close(b.wake)
		b.wake = nil
	}
}
