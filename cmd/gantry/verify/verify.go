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

	"golang.org/x/sys/unix"

	"github.com/gantryio/gantry/core/pluginhost"
	"github.com/gantryio/gantry/interfaces/plugin"
	"github.com/gantryio/gantry/interfaces/plugin/conformance"
	"github.com/gantryio/gantry/interfaces/plugin/process"
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

func (b *bed) cases() []conformance.Case {
	return append(b.work.suite,
		conformance.Case{Name: "a setting that does not exist is refused", Run: b.strict},
		conformance.Case{Name: "a killed process is started again and knows what it did", Run: b.restart},
		conformance.Case{Name: "killed in the middle of a call", Run: b.killed},
		conformance.Case{Name: "killed in the middle of taking back", Run: b.killedUndoing},
		conformance.Case{Name: "a call of a process that hangs ends in time", Run: b.hang},
	)
}

func start(t conformance.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	t.Cleanup(cancel)
	return ctx
}

// process is the one that serves now.
func (b *bed) process(t conformance.T) process.ID {
	id, err := process.Find(b.host.Instances()[0].PID)
	if err != nil {
		t.Fatalf("find the plugin's process: %v", err)
	}
	return id
}

// kill kills the process and returns when another one answers.
func (b *bed) kill(t conformance.T) {
	ctx := start(t)
	id := b.process(t)
	if err := id.Signal(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for {
		changed := b.host.Changed()
		if i := b.host.Instances()[0]; i.Up && i.PID != id.PID {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("the plugin does not come back: %s", b.host.Instances()[0].Error)
		}
	}
}

func (b *bed) strict(t conformance.T) {
	var config map[string]any
	if err := json.Unmarshal(b.config(), &config); err != nil {
		t.Fatalf("read the configuration: %v", err)
	}
	config["thisSettingDoesNotExist"] = true
	c := b.hostConfig(config)
	c.StateDir, c.RunDir = filepath.Join(b.dir, "s2"), filepath.Join(b.dir, "r2")
	h, err := pluginhost.New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(start(t))
	ended := make(chan error, 1)
	go func() { ended <- h.Run(ctx) }()
	defer func() { cancel(); <-ended }()
	first := h.Instances()[0].Error
	for {
		changed := h.Changed()
		i := h.Instances()[0]
		if i.Up {
			t.Error("a configuration with a setting that does not exist was taken")
			if id, err := process.Find(i.PID); err == nil {
				_ = id.End(time.Second)
			}
			return
		}
		if i.Error != first {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatal("the plugin neither took nor refused its configuration")
		}
	}
}

func (b *bed) nothingLeft(t conformance.T) {
	if b.work.left == nil {
		return
	}
	left, err := b.work.left(start(t))
	if err != nil || len(left) > 0 {
		t.Errorf("left are %v, %v", left, err)
	}
}

func (b *bed) restart(t conformance.T) {
	d := b.work.deed(t, 100)
	if err := d.do(start(t)); err != nil {
		t.Fatalf("before it was killed: %v", err)
	}
	b.kill(t)
	if d.same != nil {
		if err := d.same(start(t)); err != nil {
			t.Errorf("after it was killed: %v", err)
		}
	}
	if err := d.undo(start(t)); err != nil {
		t.Errorf("take back after it was killed: %v", err)
	}
	b.nothingLeft(t)
}

// moments are how long after the beginning of a call the process is killed.
var moments = []time.Duration{0, time.Millisecond, 3 * time.Millisecond, 10 * time.Millisecond, 30 * time.Millisecond, 100 * time.Millisecond}

// during makes a call and kills the process meanwhile.
func (b *bed) during(t conformance.T, moment time.Duration, call func(ctx context.Context) error) {
	ctx := start(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = call(ctx)
	}()
	select {
	case <-time.After(moment):
	case <-done:
	}
	b.kill(t)
	<-done
}

func (b *bed) killed(t conformance.T) {
	for i, moment := range moments {
		d := b.work.deed(t, 200+i)
		b.during(t, moment, d.do)
		if err := d.undo(start(t)); err != nil {
			t.Errorf("take back what was killed after %s: %v", moment, err)
		}
		b.nothingLeft(t)
	}
}

func (b *bed) killedUndoing(t conformance.T) {
	for i, moment := range moments {
		d := b.work.deed(t, 300+i)
		if err := d.do(start(t)); err != nil {
			t.Fatal(err)
		}
		b.during(t, moment, d.undo)
		if err := d.undo(start(t)); err != nil {
			t.Errorf("take back again what was killed after %s: %v", moment, err)
		}
		b.nothingLeft(t)
	}
}

// halt stops a process and returns when all its threads stand still, which nobody can be waited for to tell who is not
// their parent.
func halt(t conformance.T, id process.ID) {
	if err := id.Signal(unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	ctx := start(t)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for moving := true; moving; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("process %d does not stop", id.PID)
		}
		moving = false
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", id.PID))
		for _, thread := range threads {
			raw, _ := os.ReadFile(thread)
			if _, state, ok := strings.Cut(string(raw), ") "); ok && !strings.HasPrefix(state, "T") {
				moving = true
			}
		}
	}
}

func (b *bed) hang(t conformance.T) {
	id := b.process(t)
	halt(t, id)
	d := b.work.deed(t, 400)
	ctx, cancel := context.WithTimeout(context.Background(), hangLimit)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- d.do(ctx) }()
	select {
	case err := <-done:
		if err == nil {
			t.Error("a call of a process that hangs succeeded")
		}
	case <-time.After(hangLimit + hangSlack):
		t.Error("a call of a process that hangs does not end by its deadline")
	}
	if err := id.Signal(unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if err := d.undo(start(t)); err != nil {
		t.Errorf("take back after it hung: %v", err)
	}
	b.nothingLeft(t)
}

func (b *bed) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*callTimeout)
	defer cancel()
	return b.host.Stop(ctx)
}

// stopping ends the plugin, twice, and looks at the machine.
func (b *bed) stopping(t conformance.T) {
	for range 2 {
		if err := b.stop(); err != nil {
			t.Fatal(err)
		}
	}
	for _, left := range b.audit() {
		t.Errorf("left: %s", left)
	}
}

// reachable says that somebody listens at a socket.
func reachable(path string) error {
	c, err := net.DialTimeout("unix", path, callTimeout)
	if err != nil {
		return fmt.Errorf("reach the plugin: %w", err)
	}
	return c.Close()
}
