package pluginhost

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"time"

	hclog "github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/gantryio/gantry/interfaces/plugin"
	"github.com/gantryio/gantry/interfaces/plugin/process"
	"github.com/gantryio/gantry/interfaces/plugin/proto"
)

const (
	firstBackOff  = 50 * time.Millisecond
	lastBackOff   = 10 * time.Second
	longEnough    = time.Minute // a plugin that served so long starts again without delay
	startTimeout  = 30 * time.Second
	answerTimeout = 5 * time.Second
	pulse         = 30 * time.Second // how often an idle plugin is asked whether it lives
	misses        = 3                // so many failures in a row and it is launched anew
)

// instance keeps one plugin running.
type instance struct {
	config  Config
	id      Ref // without a version
	conn    *conn
	changed func()
	// renew receives when the plugin that is wanted has changed.
	renew chan struct{}
	// cancel ends run, and ended is closed when it has; both are set when it begins.
	cancel context.CancelFunc
	ended  chan struct{}

	mu     sync.Mutex
	wanted Plugin
	now    Instance
}

func newInstance(c Config, p Plugin, changed func()) *instance {
	ref := Ref{Kind: p.Kind, Name: p.Name}
	return &instance{
		config: c, id: ref, conn: newConn(ref.String()), changed: changed, renew: make(chan struct{}, 1), wanted: p,
		now: Instance{Ref: ref, Error: errStarting.Error(), Since: time.Now()},
	}
}

// plugin is what is wanted now.
func (i *instance) plugin() Plugin {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.wanted
}

// want changes what is wanted. What calls see of it, such as handlers, holds at once; the process is replaced if it
// has another executable or configuration.
func (i *instance) want(p Plugin) (changed bool) {
	i.mu.Lock()
	same := sameProcess(p, i.wanted)
	if same && i.now.Generation == i.wanted.Generation {
		i.now.Generation = p.Generation
	}
	changed = !same || p.Generation != i.wanted.Generation || !slices.Equal(p.Handlers, i.wanted.Handlers)
	i.wanted = p
	i.mu.Unlock()
	if same {
		return changed
	}
	select {
	case i.renew <- struct{}{}:
	default:
	}
	return changed
}

func (i *instance) describe() Instance {
	i.mu.Lock()
	defer i.mu.Unlock()
	out := i.now
	for _, h := range i.wanted.Handlers {
		if !slices.Contains(out.Handlers, h) {
			out.Handlers = append(slices.Clip(out.Handlers), h)
		}
	}
	return out
}

func (i *instance) ref() Ref { return i.describe().Ref }

// session is a connection to one process of the plugin.
type session struct {
	id      process.ID
	conn    *grpc.ClientConn
	info    *proto.DescribeResponse
	fresh   bool // launched, not attached to
	release func()
	// What the process was opened for.
	generation int64
	digest     string
}

// run attaches or launches, again and again, until ctx ends.
func (i *instance) run(ctx context.Context) {
	wait := firstBackOff
	for ctx.Err() == nil {
		s, err := i.open(ctx)
		if err == nil {
			i.up(s)
			began := time.Now()
			err = i.watch(ctx, s)
			if time.Since(began) > longEnough {
				wait = firstBackOff
			}
			i.down(err)
			s.release()
		} else {
			i.down(err)
		}
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, errRenewed) {
			wait = firstBackOff
			continue
		}
		slog.Warn("plugin is down", "plugin", i.conn.name, "error", err, "again", wait)
		select {
		case <-time.After(wait):
			wait = min(wait*2, cmp.Or(i.config.LongestPause, lastBackOff))
		case <-i.renew:
			wait = firstBackOff
		case <-ctx.Done():
		}
	}
}

func (i *instance) up(s *session) {
	i.mu.Lock()
	i.now.Generation, i.now.Digest, i.now.Handlers = s.generation, s.digest, s.info.GetHandlers()
	i.now.Version, i.now.PID, i.now.Up, i.now.Error, i.now.Since = s.info.GetVersion(), s.id.PID, true, "", time.Now()
	i.mu.Unlock()
	slog.Info("plugin is up", "plugin", i.conn.name, "version", s.info.GetVersion(), "pid", s.id.PID, "launched", s.fresh)
	i.conn.set(s.conn, nil)
	i.changed()
}

func (i *instance) down(err error) {
	if err == nil {
		err = errors.New("the host let go of it")
	}
	i.mu.Lock()
	if i.now.Up {
		i.now.Since = time.Now()
		i.now.Restarts++
	}
	i.now.Up, i.now.Error = false, err.Error()
	i.mu.Unlock()
	i.conn.set(nil, err)
	i.changed()
}

// sameProcess tells that one process can serve both.
func sameProcess(a, b Plugin) bool {
	x, xerr := json.Marshal(a.Config)
	y, yerr := json.Marshal(b.Config)
	return a.Executable == b.Executable && a.SHA256 == b.SHA256 && a.driver() == b.driver() &&
		xerr == nil && yerr == nil && bytes.Equal(x, y)
}

var errRenewed = errors.New("it is being replaced")

// watch returns when the process ended, stopped answering, something else is wanted (errRenewed), or ctx is done
// (nil then).
func (i *instance) watch(ctx context.Context, s *session) error {
	var following sync.WaitGroup
	defer following.Wait()
	watching, stop := context.WithCancel(ctx)
	defer stop()
	following.Go(func() { i.follow(watching, s) })
	sick := make(chan error, 1)
	go func() { sick <- i.pulse(watching, s) }()
	ended := make(chan error, 1)
	go func() { ended <- s.id.Wait(watching) }()
	select {
	case err := <-ended:
		if ctx.Err() != nil {
			return nil
		}
		return errors.Join(fmt.Errorf("process %d ended, see %s", s.id.PID, i.config.file(i.id, ".log")), err)
	case <-i.renew:
		return errRenewed
	case err := <-sick:
		if ctx.Err() != nil {
			return nil
		}
		return errors.Join(err, s.id.End(time.Second))
	}
}

// pulse asks the plugin from time to time whether it lives, and returns when it does not.
func (i *instance) pulse(ctx context.Context, s *session) error {
	tick := time.NewTicker(pulse)
	defer tick.Stop()
	for missed := 0; ; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		ask, cancel := context.WithTimeout(ctx, answerTimeout)
		_, err := grpc_health_v1.NewHealthClient(s.conn).Check(ask, &grpc_health_v1.HealthCheckRequest{Service: goplugin.GRPCServiceName})
		cancel()
		if err == nil {
			missed = 0
			continue
		}
		if missed++; missed >= misses {
			return fmt.Errorf("check health %d times: %w", missed, err)
		}
	}
}

// open attaches to the process that runs, or launches one.
func (i *instance) open(ctx context.Context) (s *session, err error) {
	p := i.plugin()
	config, err := json.Marshal(p.Config)
	if err != nil {
		return nil, fmt.Errorf("encode configuration: %w", err)
	}
	if p.Config == nil {
		config = []byte("{}")
	}
	sum := sha256.Sum256(config)
	binary, digest, err := verify(i.config.executable(p), p.SHA256)
	if err != nil {
		return nil, err
	}
	defer func() { _ = binary.Close() }()
	want := state{Executable: digest, Config: hex.EncodeToString(sum[:])}
	var old *state
	if s, err := readState(i.config.file(i.id, ".json")); err == nil {
		old = &s
	}
	defer func() {
		if s != nil {
			s.generation, s.digest = p.Generation, digest
		}
	}()
	switch decide(old, old != nil && old.Process.Alive(), want.Executable, want.Config) {
	case attach:
		s, err := i.reattach(ctx, *old)
		if err == nil {
			return s, nil
		}
		slog.Warn("cannot attach to running plugin, replacing it", "plugin", i.conn.name, "error", err)
		fallthrough
	case replaceProcess:
		if err := old.Process.End(2 * time.Second); err != nil {
			return nil, fmt.Errorf("end old process: %w", err)
		}
	case launch:
	}
	if old != nil {
		removeSocket(old.Socket)
	}
	if err := replace(i.config.file(i.id, ".config.json"), config); err != nil {
		return nil, err
	}
	return i.launch(ctx, p, binary, want)
}

func removeSocket(path string) {
	if path != "" {
		_ = os.RemoveAll(filepath.Dir(path))
	}
}

func (i *instance) reattach(ctx context.Context, old state) (*session, error) {
	done := make(chan struct{})
	client := goplugin.NewClient(i.clientConfig(old.Process, &goplugin.ClientConfig{
		Reattach: &goplugin.ReattachConfig{
			Protocol: goplugin.ProtocolGRPC, ProtocolVersion: plugin.Protocol, Pid: old.Process.PID,
			Addr: &net.UnixAddr{Name: old.Socket, Net: "unix"},
			ReattachFunc: func() (runner.AttachedRunner, error) {
				return &attached{id: old.Process, done: done}, nil
			},
		},
	}))
	return i.connect(ctx, client, old, func() { close(done) })
}

func (i *instance) launch(ctx context.Context, p Plugin, binary *os.File, want state) (*session, error) {
	done := make(chan struct{})
	file := i.config.file(i.id, ".json")
	run := &launched{attached: attached{done: done}, binary: binary, log: i.config.file(i.id, ".log")}
	run.started = func(id process.ID) error {
		want.Process = id
		return want.write(file)
	}
	config := &goplugin.ClientConfig{
		UnixSocketConfig: &goplugin.UnixSocketConfig{TempDir: i.config.RunDir},
		RunnerFunc: func(_ hclog.Logger, cmd *exec.Cmd, _ string) (runner.Runner, error) {
			cmd.Path = i.config.executable(p)
			cmd.Env = append(cmd.Env, plugin.ConfigVariable+"="+i.config.file(i.id, ".config.json"))
			cmd.Env = append(cmd.Env, i.config.Environment...)
			run.cmd = cmd
			return run, nil
		},
	}
	client := goplugin.NewClient(i.clientConfig(process.ID{}, config))
	address, err := client.Start()
	if err != nil {
		close(done)
		run.release()
		return nil, fmt.Errorf("launch: %w", err)
	}
	want.Socket = address.String()
	release := func() { close(done); run.release() }
	if err := want.write(file); err != nil {
		release()
		return nil, errors.Join(err, want.Process.End(time.Second))
	}
	s, err := i.connect(ctx, client, want, release)
	if err != nil {
		return nil, errors.Join(err, want.Process.End(time.Second))
	}
	s.fresh = true
	return s, nil
}

func (i *instance) clientConfig(expect process.ID, c *goplugin.ClientConfig) *goplugin.ClientConfig {
	c.HandshakeConfig = plugin.Handshake
	c.Plugins = goplugin.PluginSet{string(i.id.Kind): &plugin.Wire{}}
	c.AllowedProtocols = []goplugin.Protocol{goplugin.ProtocolGRPC}
	c.StartTimeout = startTimeout
	c.Logger = hclog.NewNullLogger()
	c.GRPCDialOptions = []grpc.DialOption{
		grpc.WithIdleTimeout(0),
		grpc.WithContextDialer(i.dialer(expect)),
	}
	return c
}

// dialer connects to the plugin's socket and refuses anybody who is not the plugin's process.
func (i *instance) dialer(expect process.ID) func(context.Context, string) (net.Conn, error) {
	return func(ctx context.Context, _ string) (net.Conn, error) {
		s, err := readState(i.config.file(i.id, ".json"))
		if err != nil {
			return nil, err
		}
		if expect.PID != 0 && s.Process != expect {
			return nil, fmt.Errorf("dial plugin: process %d was replaced", expect.PID)
		}
		c, err := (&net.Dialer{}).DialContext(ctx, "unix", s.Socket)
		if err != nil {
			return nil, fmt.Errorf("dial plugin: %w", err)
		}
		cred, err := plugin.Peer(c)
		if err == nil && int(cred.Pid) != s.Process.PID {
			err = fmt.Errorf("dial plugin: process %d listens, want %d: %w", cred.Pid, s.Process.PID, plugin.ErrInvalid)
		}
		if err != nil {
			return nil, errors.Join(err, c.Close())
		}
		return c, nil
	}
}

// connect asks the process who it is before anything else is said to it.
func (i *instance) connect(ctx context.Context, client *goplugin.Client, want state, release func()) (*session, error) {
	protocol, err := client.Client()
	if err != nil {
		release()
		return nil, fmt.Errorf("connect: %w", err)
	}
	cc := protocol.(*goplugin.GRPCClient).Conn
	s := &session{id: want.Process, conn: cc, release: func() { _ = cc.Close(); release() }}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	s.info, err = proto.NewLifecycleClient(cc).Describe(ctx, &proto.DescribeRequest{})
	if err == nil && (s.info.GetKind() != string(i.id.Kind) || s.info.GetName() != i.plugin().driver() || s.info.GetConfigDigest() != want.Config) {
		err = fmt.Errorf("it is %s/%s with configuration %s: %w", s.info.GetKind(), s.info.GetName(), s.info.GetConfigDigest(), plugin.ErrInvalid)
	}
	if err != nil {
		s.release()
		return nil, fmt.Errorf("describe: %w", plugin.FromStatus(err))
	}
	return s, nil
}

// stop takes down what the plugin supervises and ends it.
func (i *instance) stop(ctx context.Context) error {
	s, err := i.open(ctx)
	if err != nil {
		return fmt.Errorf("stop plugin %s: %w", i.conn.name, err)
	}
	defer s.release()
	_, stopErr := proto.NewLifecycleClient(s.conn).Stop(ctx, &proto.StopRequest{})
	endErr := s.id.End(2 * time.Second)
	if st, err := readState(i.config.file(i.id, ".json")); err == nil {
		removeSocket(st.Socket)
	}
	i.down(errors.New("it was stopped"))
	for _, extension := range []string{".json", ".config.json"} {
		_ = os.Remove(i.config.file(i.id, extension))
	}
	if err := errors.Join(plugin.FromStatus(stopErr), endErr); err != nil {
		return fmt.Errorf("stop plugin %s: %w", i.conn.name, err)
	}
	return nil
}
