package pluginhost

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	hclog "github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"

	"github.com/gantryio/gantry/interfaces/plugin"
	"github.com/gantryio/gantry/interfaces/plugin/process"
	"github.com/gantryio/gantry/interfaces/plugin/proto"
)

// session is a connection to one process of the plugin.
type session struct {
	id      process.ID
	conn    *grpc.ClientConn
	passage *passage // nil where there is none
	info    *proto.DescribeResponse
	fresh   bool // launched, not attached to
	release func()
	socket  string
	// What the process was launched for, and the digests of its executable and configuration.
	plugin         Plugin
	digest, config string
	// cgroup is its name; unlimited is why it has no limits.
	cgroup, unlimited string
}

// slot is where what belongs to one process of an instance is written down. Extensions but that of the current
// process's configuration and state do not end in .json.
type slot struct{ state, config, problem string }

var (
	current   = slot{".json", ".config.json", ".problem"}
	candidate = slot{".next", ".config.next", ".problem.next"}
)

// replacedState is what is known of a process that still has calls to answer.
const replacedState = ".old"

// open attaches to the process that runs, whatever it was launched for, or launches one.
func (i *instance) open(ctx context.Context) (*session, error) {
	old, err := readState(i.config.file(i.id, current.state))
	if err != nil {
		return i.launch(ctx, i.target(), current)
	}
	if old.Process.Alive() && old.Socket != "" {
		s, err := i.reattach(ctx, old)
		if err == nil {
			return s, nil
		}
		if ctx.Err() != nil { // it is this host that ends, and the next one will attach
			return nil, fmt.Errorf("attach to the running process: %w", ctx.Err())
		}
		slog.Warn("cannot attach to running plugin, replacing it", "plugin", i.conn.name, "error", err)
	}
	if err := old.Process.End(endGrace); err != nil {
		return nil, fmt.Errorf("end old process: %w", err)
	}
	removeSocket(old.Socket)
	return i.launch(ctx, i.target(), current)
}

func removeSocket(path string) {
	if path != "" {
		_ = os.RemoveAll(filepath.Dir(path))
	}
}

// tidy removes what a process that has ended has left.
func (i *instance) tidy(s *session) {
	if s.id.Alive() {
		return
	}
	removeSocket(s.socket)
	i.config.removeCgroup(s.cgroup)
}

func (i *instance) reattach(ctx context.Context, old state) (*session, error) {
	done := make(chan struct{})
	client := goplugin.NewClient(i.clientConfig(func() state { return old }, &goplugin.ClientConfig{
		Reattach: &goplugin.ReattachConfig{
			Protocol: goplugin.ProtocolGRPC, ProtocolVersion: i.config.protocol(), Pid: old.Process.PID,
			Addr: &net.UnixAddr{Name: old.Socket, Net: "unix"},
			ReattachFunc: func() (runner.AttachedRunner, error) {
				return &attached{id: old.Process, done: done}, nil
			},
		},
	}))
	p := i.plugin()
	if old.Plugin != nil {
		p = old.Plugin.plugin()
	}
	return i.connect(ctx, client, p, old, func() { close(done) })
}

// launch verifies the executable and starts it.
func (i *instance) launch(ctx context.Context, p Plugin, at slot) (*session, error) {
	binary, digest, err := i.executable(ctx, p)
	if err != nil {
		return nil, err
	}
	defer func() { _ = binary.Close() }()
	return i.execute(ctx, p, at, binary, digest)
}

// executable opens what a plugin is to be executed from, with its digest.
func (i *instance) executable(ctx context.Context, p Plugin) (*os.File, string, error) {
	if p.Image == nil {
		return verify(i.config.executable(p), p.SHA256)
	}
	if i.config.Artifacts == nil {
		return nil, "", fmt.Errorf("find artifact %s: this host has no store of artifacts: %w", p.Image.Reference, plugin.ErrUnsupported)
	}
	path, sum, err := i.config.Artifacts.Fetch(ctx, *p.Image)
	if err != nil {
		return nil, "", err
	}
	if p.SHA256 != "" && p.SHA256 != sum {
		return nil, "", fmt.Errorf("verify plugin %s: its executable has SHA-256 %s, want %s: %w", p.Image.Reference, sum, p.SHA256, plugin.ErrInvalid)
	}
	return verify(path, sum)
}

func (i *instance) execute(ctx context.Context, p Plugin, at slot, binary *os.File, digest string) (*session, error) {
	config, err := encode(p.Config)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(config)
	kept := keep(p, config)
	now := &shared{state: state{Executable: digest, Config: hex.EncodeToString(sum[:]), Plugin: &kept}, file: i.config.file(i.id, at.state)}
	if err := replace(i.config.file(i.id, at.config), config); err != nil {
		return nil, err
	}
	problem := i.config.file(i.id, at.problem)
	_ = os.Remove(problem)
	done := make(chan struct{})
	var group, unlimited, dir string
	run := &launched{attached: attached{done: done}, ctx: ctx, binary: binary, log: i.config.file(i.id, ".log")}
	run.started = func(id process.ID) error {
		group, unlimited = i.config.limit(i.id, p, id)
		return now.set(func(s *state) { s.Process, s.Cgroup, s.Unlimited = id, group, unlimited })
	}
	client := goplugin.NewClient(i.clientConfig(now.get, &goplugin.ClientConfig{
		UnixSocketConfig: &goplugin.UnixSocketConfig{TempDir: i.config.RunDir},
		RunnerFunc: func(_ hclog.Logger, cmd *exec.Cmd, socketDir string) (runner.Runner, error) {
			dir = socketDir
			cmd.Path = i.config.executable(p)
			cmd.Env = append(cmd.Env, plugin.ConfigVariable+"="+i.config.file(i.id, at.config), plugin.ProblemVariable+"="+problem)
			cmd.Env = append(cmd.Env, i.config.supervised()...)
			cmd.Env = append(cmd.Env, allotted(p.Limits)...)
			cmd.Env = append(cmd.Env, i.config.Environment...)
			run.cmd = cmd
			return run, nil
		},
	}))
	release := func() { close(done); run.release() }
	address, err := client.Start()
	if err != nil {
		release()
		_ = os.RemoveAll(dir)
		i.config.removeCgroup(group)
		return nil, i.explain(err, problem, run)
	}
	s, err := i.finish(ctx, client, p, now, address.String(), release)
	if err != nil {
		return nil, err
	}
	run.keep()
	s.fresh = true
	return s, nil
}

// finish notes the socket of a process that serves and connects to it.
func (i *instance) finish(ctx context.Context, client *goplugin.Client, p Plugin, now *shared, socket string, release func()) (*session, error) {
	if err := now.set(func(s *state) { s.Socket = socket }); err != nil {
		release()
		return nil, errors.Join(err, now.get().Process.End(time.Second))
	}
	s, err := i.connect(ctx, client, p, now.get(), release)
	if err != nil {
		err = errors.Join(err, now.get().Process.End(time.Second))
		removeSocket(socket)
		i.config.removeCgroup(now.get().Cgroup)
		return nil, err
	}
	return s, nil
}

// shared is a state that is written as it becomes known.
type shared struct {
	file string

	mu    sync.Mutex
	state state
}

func (s *shared) get() state {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

func (s *shared) set(change func(*state)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.state)
	return s.state.write(s.file)
}

// longestReply is how much memory a plugin may make the host use by one answer.
const longestReply = 64 << 20

func (i *instance) clientConfig(now func() state, c *goplugin.ClientConfig) *goplugin.ClientConfig {
	c.HandshakeConfig = plugin.Handshake
	c.HandshakeConfig.ProtocolVersion = uint(i.config.protocol())
	c.Plugins = goplugin.PluginSet{string(i.id.Kind): &plugin.Wire{}}
	c.AllowedProtocols = []goplugin.Protocol{goplugin.ProtocolGRPC}
	c.StartTimeout = startTimeout
	c.Logger = hclog.NewNullLogger()
	c.GRPCDialOptions = []grpc.DialOption{
		grpc.WithIdleTimeout(0),
		grpc.WithStaticStreamWindowSize(plugin.Window), grpc.WithStaticConnWindowSize(plugin.Window),
		grpc.WithContextDialer(dialer(now)),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(longestReply), grpc.MaxCallSendMsgSize(math.MaxInt32)),
	}
	return c
}

// dialer connects to the plugin's socket and refuses anybody who is not the plugin's process.
func dialer(now func() state) func(context.Context, string) (net.Conn, error) {
	return func(ctx context.Context, _ string) (net.Conn, error) {
		s := now()
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
func (i *instance) connect(ctx context.Context, client *goplugin.Client, p Plugin, want state, release func()) (*session, error) {
	protocol, err := client.Client()
	if err != nil {
		release()
		return nil, fmt.Errorf("connect: %w", err)
	}
	cc := protocol.(*goplugin.GRPCClient).Conn
	s := &session{
		id: want.Process, conn: cc, socket: want.Socket, plugin: p, digest: want.Executable, config: want.Config,
		cgroup: want.Cgroup, unlimited: want.Unlimited,
	}
	s.release = sync.OnceFunc(func() { _ = cc.Close(); s.passage.shut(); release() })
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	s.info, err = proto.NewLifecycleClient(cc).Describe(ctx, &proto.DescribeRequest{})
	if err == nil && (s.info.GetKind() != string(i.id.Kind) || s.info.GetName() != p.driver() || s.info.GetConfigDigest() != want.Config) {
		err = fmt.Errorf("it is %s/%s with configuration %s, want %s/%s with %s: %w", s.info.GetKind(), s.info.GetName(),
			s.info.GetConfigDigest(), i.id.Kind, p.driver(), want.Config, plugin.ErrInvalid)
	}
	if err == nil {
		s.passage, err = openPassage(s.info.GetPassage())
	}
	if err != nil {
		s.release()
		return nil, fmt.Errorf("describe: %w", plugin.FromStatus(err))
	}
	return s, nil
}
