// Package verify judges a plugin's executable on this machine: by the suite of its contract, and by what only processes
// can suffer: being killed in the middle of a call, hanging, being started again. It exists for those who write plugins
// and those who are to trust them.
package verify

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/gantryio/gantry/core/pluginhost"
	"github.com/gantryio/gantry/interfaces/plugin"
	"github.com/gantryio/gantry/interfaces/plugin/conformance"
)

// Subject is what is judged. The machine's network namespace is taken to be empty, and the verifier's own.
type Subject struct {
	Kind plugin.Kind
	// Path is an executable, or the socket of a plugin that somebody else runs: of it the contract alone is verified.
	Path string
	// Driver is what the executable calls itself.
	Driver string
	// Config is its configuration. ${dir}, ${bin}, ${shim} and ${attach} stand for a folder for its state, the folder of
	// Gantry's executables, the CNI executable and the socket behind that one.
	Config string
	// Bin is the folder of Gantry's executables.
	Bin string
	// Image is a container image for runtimes, whose program runs until it gets SIGTERM. It is imported from Archive,
	// if that is set and the runtime can.
	Image, Archive string
}

// bed is where a plugin is judged.
type bed struct {
	Subject
	dir    string
	host   *pluginhost.Host
	work   work
	cancel context.CancelFunc
	parts  sync.WaitGroup
}

// work is what a kind of plugins does.
type work struct {
	// suite is that of the contract.
	suite []conformance.Case
	// deed is the i-th of as many as are asked for; all are different.
	deed func(t conformance.T, i int) deed
	// left lists what is not undone.
	left func(ctx context.Context) ([]string, error)
}

// deed is something that a plugin does. Both may be repeated.
type deed struct {
	do, undo func(ctx context.Context) error
	// same says that it is still as it was done; nil where there is nothing to compare.
	same func(ctx context.Context) error
}

const (
	callTimeout = 30 * time.Second
	// hangLimit is the deadline of a call to a process that hangs, hangSlack what a verdict may be late.
	hangLimit = time.Second
	hangSlack = 5 * time.Second
)

// Run judges the plugin and calls each with every verdict. The error is why it could not be judged at all.
func Run(s Subject, limit time.Duration, each func(conformance.Result)) ([]conformance.Result, error) {
	info, err := os.Stat(s.Path)
	if err != nil {
		return nil, fmt.Errorf("find the plugin: %w", err)
	}
	dir, err := os.MkdirTemp("", "gv")
	if err != nil {
		return nil, fmt.Errorf("make a folder: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	b := &bed{Subject: s, dir: dir}
	if info.Mode()&os.ModeSocket != 0 {
		return b.judgeSocket(limit, each)
	}
	return b.judgeExecutable(limit, each)
}

func (b *bed) judgeSocket(limit time.Duration, each func(conformance.Result)) ([]conformance.Result, error) {
	conn, err := dial(b.Path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	if b.work, err = b.workOver(conn); err != nil {
		return nil, err
	}
	return conformance.Run(b.work.suite, limit, each), nil
}

func (b *bed) judgeExecutable(limit time.Duration, each func(conformance.Result)) ([]conformance.Result, error) {
	if err := b.serveNetwork(); err != nil {
		return nil, err
	}
	var err error
	if b.host, err = pluginhost.New(b.hostConfig(b.config())); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	running := make(chan error, 1)
	go func() { running <- b.host.Run(ctx) }()
	stop := func() { cancel(); <-running }
	if err := b.launched(); err != nil {
		stop()
		_ = b.stop()
		b.endNetwork()
		return nil, err
	}
	if b.work, err = b.workOfHost(); err == nil {
		err = b.importImage()
	}
	var out []conformance.Result
	if err == nil {
		out = conformance.Run(b.cases(), limit, each)
	}
	stop()
	// What is left is looked for when everything has been stopped.
	if err == nil {
		out = append(out, conformance.Run([]conformance.Case{{Name: "stopping leaves nothing", Run: b.stopping}}, limit, each)...)
	} else {
		_ = b.stop()
	}
	b.endNetwork()
	return out, err
}

func (b *bed) launched() error {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	if err := b.host.Ready(ctx); err != nil {
		raw, _ := os.ReadFile(b.logFile())
		return fmt.Errorf("launch the plugin: %w; the end of its log:\n%s", err, raw[max(0, len(raw)-2000):])
	}
	return nil
}

func (b *bed) logFile() string {
	return filepath.Join(b.dir, "state", string(b.Kind)+"-subject.log")
}

func (b *bed) hostConfig(config any) pluginhost.Config {
	return pluginhost.Config{
		LongestPause: 100 * time.Millisecond, // everything is killed often here
		Dir:          filepath.Dir(b.Path), StateDir: filepath.Join(b.dir, "state"), RunDir: filepath.Join(b.dir, "run"),
		Plugins: []pluginhost.Plugin{{Kind: b.Kind, Name: "subject", Driver: b.Driver, Executable: b.Path, Config: config}},
	}
}

func (b *bed) config() json.RawMessage {
	if b.Config == "" {
		return json.RawMessage("{}")
	}
	return json.RawMessage(strings.NewReplacer(
		"${dir}", b.dir, "${bin}", b.Bin, "${shim}", filepath.Join(b.Bin, "gantry-cni"), "${attach}", b.attachSocket(),
	).Replace(b.Config))
}

func (b *bed) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*callTimeout)
	defer cancel()
	return b.host.Stop(ctx)
}

// reachable says that somebody listens at a socket.
func reachable(path string) error {
	c, err := net.DialTimeout("unix", path, callTimeout)
	if err != nil {
		return fmt.Errorf("reach the plugin: %w", err)
	}
	return c.Close()
}
