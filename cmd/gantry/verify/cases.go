package verify

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gantryio/gantry/core/pluginhost"
	"github.com/gantryio/gantry/interfaces/plugin/conformance"
	"github.com/gantryio/gantry/interfaces/plugin/process"
)

func (b *bed) cases() []conformance.Case {
	return append(b.work.suite,
		conformance.Case{Name: "a setting that does not exist is refused", Run: b.strict},
		conformance.Case{Name: "a killed process is started again and knows what it did", Run: b.restart},
		conformance.Case{Name: "a host of another version serves it or says so", Run: b.skew},
		conformance.Case{Name: "a new process takes over beside the old one", Run: b.beside},
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
	i := b.judgedBy(t, b.hostConfig(config))
	if i.Up {
		t.Error("a configuration with a setting that does not exist was taken")
	}
}

// skew is what becomes of the plugin under hosts that are a version older or newer: they may serve it, or refuse it
// with a word about versions.
func (b *bed) skew(t conformance.T) {
	for _, skew := range []int{1, -1} {
		c := b.hostConfig(b.config())
		c.Skew = skew
		if i := b.judgedBy(t, c); !i.Up && !strings.Contains(i.Error, "speaks version") {
			t.Errorf("a host whose version differs by %+d does not say so, but: %s", skew, i.Error)
		}
		if left, _ := os.ReadDir(filepath.Join(b.dir, "r2")); len(left) > 0 {
			t.Errorf("a host whose version differs by %+d leaves %v", skew, left)
		}
	}
}

// judgedBy is what another host says of the plugin, whose process is ended then.
func (b *bed) judgedBy(t conformance.T, c pluginhost.Config) pluginhost.Instance {
	c.StateDir, c.RunDir = filepath.Join(b.dir, "s2"), filepath.Join(b.dir, "r2")
	defer func() { _ = os.RemoveAll(c.StateDir) }()
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
			if id, err := process.Find(i.PID); err == nil {
				_ = id.End(time.Second)
			}
			return i
		}
		if i.Error != first {
			return i
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatal("the plugin neither came up nor refused to")
		}
	}
}

// beside replaces the process while it serves.
func (b *bed) beside(t conformance.T) {
	ctx := start(t)
	d, old := b.work.deed(t, 500), b.process(t)
	if err := d.do(ctx); err != nil {
		t.Fatalf("before it was replaced: %v", err)
	}
	p := b.host.Plugins()[0]
	p.Generation++
	p.Limits.CPUMillis++ // Another process, with the same configuration.
	if err := b.host.Set(ctx, []pluginhost.Plugin{p}); err != nil {
		t.Fatal(err)
	}
	for {
		changed := b.host.Changed()
		if i := b.host.Instances()[0]; i.Up && i.PID != old.PID {
			break
		} else if u := i.Update; u != nil && u.Error != "" {
			t.Fatalf("a second process beside the first does not come up: %s", u.Error)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("no second process came up: %+v", b.host.Instances()[0])
		}
	}
	if d.same != nil {
		if err := d.same(start(t)); err != nil {
			t.Errorf("after it was replaced: %v", err)
		}
	}
	if err := d.undo(start(t)); err != nil {
		t.Errorf("take back after it was replaced: %v", err)
	}
	if err := old.Wait(ctx); err != nil {
		t.Errorf("the old process is left: %v", err)
	}
	b.nothingLeft(t)
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
	b.undoLate(t, d)
}

// undoLate takes back what may only now be done: a process that hung finds the call in its socket when it goes on, and
// may begin with it after what was asked later.
func (b *bed) undoLate(t conformance.T, d deed) {
	ctx := start(t)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if err := d.undo(ctx); err != nil {
			t.Fatalf("take back after it hung: %v", err)
		}
		if b.work.left == nil {
			return
		}
		left, err := b.work.left(ctx)
		if err == nil && len(left) == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("left are %v, %v", left, err)
		}
	}
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
