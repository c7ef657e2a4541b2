// Package containerd is the runtime plugin that runs a containerd of its own. containerd and its shims
// outlive the plugin's process: the next one adopts them. CRI is forwarded, all but a few methods of it unread, so the
// plugin costs next to nothing and never lags behind what containerd can do.
package containerd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"google.golang.org/grpc"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/gantryio/gantry/interfaces/plugin"
	"github.com/gantryio/gantry/interfaces/plugin/relay"
	"github.com/gantryio/gantry/interfaces/runtime"
)

// Config is what the host gives the plugin. Root, State, Stack and PauseArchive are needed.
type Config struct {
	// Root keeps images, snapshots and metadata.
	Root string
	// State keeps sockets, bundles and process state. Its path has at most MaxState bytes, because the shims'
	// sockets are in it and a socket's path is limited to 107 bytes (unix(7)).
	State string
	// Stack is the folder with containerd, containerd-shim-runc-v2 and runc.
	Stack string
	// PauseArchive is the docker archive with the sandbox image, PauseImage its name.
	PauseArchive string
	PauseImage   string
	// Shim is the CNI executable that hands calls to AttachSocket, the node agent's socket. Without it
	// sandboxes have a loopback interface only.
	Shim         string
	AttachSocket string
	// ShimFront, if set, is run in place of containerd-shim-runc-v2 and becomes it when it has to (cmd/gantry-shim).
	ShimFront string
	// CertsDir holds a folder a registry (hosts.toml); see containerd's docs/hosts.md.
	CertsDir string
	// SystemdCgroup lets systemd manage the cgroups; the default is to write cgroupfs.
	SystemdCgroup bool
}

func (c Config) check() error {
	for name, value := range map[string]string{"Root": c.Root, "State": c.State, "Stack": c.Stack, "PauseArchive": c.PauseArchive} {
		if !filepath.IsAbs(value) {
			return fmt.Errorf("check configuration: %s is %q, want an absolute path: %w", name, value, plugin.ErrInvalid)
		}
	}
	if len(c.State) > MaxState {
		return fmt.Errorf("check configuration: State %q has more than %d bytes: %w", c.State, MaxState, plugin.ErrInvalid)
	}
	return nil
}

// MaxState is how long the path of State may be.
const MaxState = 40

func (c Config) socket() string     { return filepath.Join(c.State, "c.sock") }
func (c Config) shim() string       { return filepath.Join(c.Stack, "containerd-shim-runc-v2") }
func (c Config) runcRoot() string   { return filepath.Join(c.State, "runc") }
func (c Config) configFile() string { return filepath.Join(c.Root, "config.toml") }
func (c Config) processFile() string {
	return filepath.Join(c.State, "process.json")
}
func (c Config) logFile() string { return filepath.Join(c.Root, "containerd.log") }

// Plugin is the running plugin.
type Plugin struct {
	config Config
	daemon *daemon
	conn   *grpc.ClientConn
	cri    runtimeapi.RuntimeServiceClient
	prep   *preparation
	files  sync.Mutex // held by whoever makes or removes the files of sandboxes
}

var (
	_ plugin.Stopper       = (*Plugin)(nil)
	_ plugin.ServerOptions = (*Plugin)(nil)
	_ plugin.Passer        = (*Plugin)(nil)
	_ runtime.Importer     = (*Plugin)(nil)
)

// Open adopts the containerd that runs, or starts one, and returns at once: calls wait until it answers.
func Open(c Config) (*Plugin, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	if c.PauseImage == "" {
		c.PauseImage = "gantry.local/pause:1"
	}
	if c.CertsDir == "" {
		c.CertsDir = filepath.Join(c.Root, "certs.d")
	}
	if err := c.write(); err != nil {
		return nil, err
	}
	conn, err := relay.Dial(c.socket())
	if err != nil {
		return nil, err
	}
	p := &Plugin{config: c, conn: conn, cri: runtimeapi.NewRuntimeServiceClient(conn), prep: newPreparation()}
	p.daemon = newDaemon(c)
	if err := p.daemon.start(); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	go p.daemon.supervise()
	go p.prepare()
	return p, nil
}

// write makes the folders and files that containerd needs.
func (c Config) write() error {
	for _, dir := range []string{c.Root, c.State, c.cniConf(), c.cniBin(), c.CertsDir} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("make folders: %w", err)
		}
	}
	text, err := c.render(probe(c.Root))
	if err != nil {
		return err
	}
	if err := os.WriteFile(c.configFile(), text, 0o600); err != nil {
		return fmt.Errorf("write containerd configuration: %w", err)
	}
	return c.writeCNI()
}

// prepare makes the sandbox image present. CRI calls wait for it.
func (p *Plugin) prepare() {
	for wait := 20 * time.Millisecond; ; wait = min(wait*2, 5*time.Second) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		err := p.ensurePause(ctx)
		cancel()
		if err == nil {
			p.prep.finish()
			return
		}
		p.prep.fail(fmt.Errorf("prepare the sandbox image: %w", err))
		time.Sleep(wait)
	}
}

// ServerOptions forwards what is not the plugin's own to containerd.
func (p *Plugin) ServerOptions() []grpc.ServerOption { return p.relay().ServerOptions() }

// Passage implements plugin.Passer.
func (p *Plugin) Passage() plugin.Passage { return p.relay().Passage(p.config.socket(), criPrefix) }

func (p *Plugin) relay() *relay.Relay {
	return &relay.Relay{Conn: p.conn, Allow: isCRI, Ready: p.ready, Own: p.own()}
}

// Register serves the plugin's own part: CRI itself is forwarded.
func Register(r grpc.ServiceRegistrar, p *Plugin) { runtime.RegisterImporter(r, p) }
