package pluginhost_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gantryio/gantry/core/pluginhost"
	"github.com/gantryio/gantry/interfaces/network"
	"github.com/gantryio/gantry/interfaces/plugin"
	"github.com/gantryio/gantry/interfaces/plugin/process"
	"github.com/gantryio/gantry/plugins/network/fake"
)

// TestMain lets the test's own executable be the plugin.
func TestMain(m *testing.M) {
	if os.Getenv(plugin.Handshake.MagicCookieKey) != "" {
		plugin.Serve(plugin.Info{Kind: plugin.Network, Name: "fake", Version: "7"}, network.Register,
			func(c fake.Config) (network.Network, error) {
				n, err := fake.Open(c)
				if file := os.Getenv(gateFile); file != "" && err == nil {
					return gated{n, file}, nil
				}
				if file := os.Getenv(problemFile); file != "" && err == nil {
					return moody{n, file}, nil
				}
				return n, err
			})
		return
	}
	os.Exit(m.Run())
}

// place makes folders with the test's executable as the plugin, and ends what was launched from there.
func place(t *testing.T) pluginhost.Config {
	t.Helper()
	dir, err := os.MkdirTemp("", "gph")
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := pluginhost.Config{
		Dir: filepath.Join(dir, "p"), StateDir: filepath.Join(dir, "s"), RunDir: filepath.Join(dir, "r"),
		Plugins: []pluginhost.Plugin{{Kind: plugin.Network, Name: "fake", Config: fake.Config{PodCIDR: "10.9.0.0/24"}}},
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(c.Dir, "plugin-network-fake")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		h, err := pluginhost.New(c)
		if err == nil {
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			_ = h.Stop(ctx)
		}
		_ = os.RemoveAll(dir)
	})
	return c
}

// run runs a host and returns it with a function that ends it as an agent's end does.
func run(t *testing.T, c pluginhost.Config) (*pluginhost.Host, func()) {
	t.Helper()
	h, err := pluginhost.New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- h.Run(ctx) }()
	stop := func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
		ended <- nil
	}
	t.Cleanup(func() {
		stop()
		if t.Failed() { // It may have failed before it stopped plugins that place does not know.
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			_ = h.Stop(ctx)
		}
	})
	return h, stop
}

func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func ready(ctx context.Context, t *testing.T, h *pluginhost.Host) pluginhost.Instance {
	t.Helper()
	if err := h.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	return h.Instances()[0]
}

func TestPluginOutlivesTheHost(t *testing.T) {
	ctx, c := deadline(t), place(t)
	h, stop := run(t, c)
	first := ready(ctx, t, h)
	n, ref, err := h.Network("")
	if err != nil {
		t.Fatal(err)
	}
	if ref.Version != "7" || ref.String() != "network/fake" {
		t.Errorf("plugin is %v", ref)
	}
	a, err := n.Attach(ctx, network.Sandbox{ID: "one"})
	if err != nil {
		t.Fatal(err)
	}
	if !netip.MustParsePrefix("10.9.0.0/24").Contains(a.Addresses[0].Prefix.Addr()) {
		t.Errorf("address %v is not from the configured range", a.Addresses)
	}
	stop()

	h, _ = run(t, c)
	second := ready(ctx, t, h)
	if first.PID != second.PID {
		t.Errorf("the second host serves process %d, want %d", second.PID, first.PID)
	}
	n, _, err = h.Network("fake")
	if err != nil {
		t.Fatal(err)
	}
	if ids, err := n.List(ctx); err != nil || len(ids) != 1 {
		t.Errorf("the plugin forgot its sandbox: %v, %v", ids, err)
	}
}

// A host that ends while it attaches, as a new process does that cannot begin, leaves the plugin to the next.
func TestAHostThatEndsLeavesThePlugin(t *testing.T) {
	ctx, c := deadline(t), place(t)
	h, stop := run(t, c)
	first := ready(ctx, t, h)
	stop()
	another, err := pluginhost.New(c)
	if err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if err := another.Stop(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("stop ended with %v", err)
	}
	h, _ = run(t, c)
	if again := ready(ctx, t, h); again.PID != first.PID {
		t.Errorf("the plugin has process %d, had %d", again.PID, first.PID)
	}
}

// What a plugin prints, however it does, is in its log, and nothing waits for somebody to read it.
func TestWhatAPluginPrintsIsInItsLog(t *testing.T) {
	ctx, c := deadline(t), place(t)
	c.Environment = []string{gateFile + "=" + filepath.Join(t.TempDir(), "gate")}
	h, _ := run(t, c)
	ready(ctx, t, h)
	n, _, err := h.Network("")
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Detach(ctx, network.Sandbox{ID: "talker"}); err != nil {
		t.Fatal(err)
	}
	log, err := os.ReadFile(filepath.Join(c.StateDir, "network-fake.log"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"said on standard output\n", "said much on standard error\n"} {
		if !strings.Contains(string(log), want) {
			t.Errorf("its log lacks %q", want)
		}
	}
}

func TestKilledPluginIsLaunchedAgain(t *testing.T) {
	ctx, c := deadline(t), place(t)
	h, _ := run(t, c)
	first := ready(ctx, t, h)
	n, _, err := h.Network("")
	if err != nil {
		t.Fatal(err)
	}
	changed := h.Changed()
	if err := syscall.Kill(first.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-changed
	if _, err := n.List(ctx); err != nil {
		t.Errorf("a call during the restart failed: %v", err)
	}
	if again := h.Instances()[0]; again.PID == first.PID || !again.Up || again.Restarts != 1 {
		t.Errorf("instance after the kill is %+v, was %+v", again, first)
	}
}

func TestChangedConfigurationReplacesTheProcess(t *testing.T) {
	ctx, c := deadline(t), place(t)
	h, stop := run(t, c)
	first := ready(ctx, t, h)
	id, err := process.Find(first.PID)
	if err != nil {
		t.Fatal(err)
	}
	stop()
	c.Plugins[0].Config = fake.Config{PodCIDR: "10.10.0.0/24"}
	h, _ = run(t, c)
	until(ctx, t, h, func(all []pluginhost.Instance) bool { return all[0].Up && all[0].PID != first.PID })
	if p := attachTo(ctx, t, h, "", "a"); !netip.MustParsePrefix("10.10.0.0/24").Overlaps(p) {
		t.Errorf("the new configuration gives %v", p)
	}
	if err := id.Wait(ctx); err != nil {
		t.Errorf("the process %d of the old configuration is left: %v", first.PID, err)
	}
}

func TestStopEndsThePlugin(t *testing.T) {
	ctx, c := deadline(t), place(t)
	h, stop := run(t, c)
	id, err := process.Find(ready(ctx, t, h).PID)
	if err != nil {
		t.Fatal(err)
	}
	stop()
	if err := h.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	if id.Alive() {
		t.Error("the plugin runs after Stop")
	}
	if left, err := os.ReadDir(c.RunDir); err != nil || len(left) != 0 {
		t.Errorf("sockets left: %v, %v", left, err)
	}
}

func TestUnverifiedExecutableIsRefused(t *testing.T) {
	ctx, c := deadline(t), place(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(raw)
	good := hex.EncodeToString(sum[:]) + "  plugin-network-fake\n"
	for name, test := range map[string]struct {
		list string
		up   bool
	}{
		"listed":     {list: good, up: true},
		"other sum":  {list: strings.Repeat("0", 64) + "  plugin-network-fake\n"},
		"not listed": {list: ""},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(filepath.Join(c.Dir, "SHA256SUMS"), []byte(test.list), 0o600); err != nil {
				t.Fatal(err)
			}
			h, stop := run(t, c)
			defer stop()
			changed := h.Changed()
			for !h.Instances()[0].Up && !strings.Contains(h.Instances()[0].Error, "verify") {
				select {
				case <-changed:
					changed = h.Changed()
				case <-ctx.Done():
					t.Fatal("nothing happened")
				}
			}
			if got := h.Instances()[0]; got.Up != test.up {
				t.Errorf("instance is %+v, want up %v", got, test.up)
			}
			stop()
			if err := h.Stop(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	if err := os.Remove(filepath.Join(c.Dir, "SHA256SUMS")); err != nil {
		t.Fatal(err)
	}
}

func TestDownPluginFailsClearly(t *testing.T) {
	c := place(t)
	if err := os.Remove(filepath.Join(c.Dir, "plugin-network-fake")); err != nil {
		t.Fatal(err)
	}
	h, _ := run(t, c)
	n, _, err := h.Network("")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	changed := h.Changed()
	go func() { <-changed; cancel() }()
	if _, err := n.List(ctx); !errors.Is(err, plugin.ErrUnavailable) {
		t.Errorf("a call to a missing plugin: %v, want %v", err, plugin.ErrUnavailable)
	}
}

func TestRefusedConfigurations(t *testing.T) {
	good := pluginhost.Plugin{Kind: plugin.Network, Name: "fake"}
	for name, c := range map[string]pluginhost.Config{
		"twice":         {Plugins: []pluginhost.Plugin{good, good}},
		"no name":       {Plugins: []pluginhost.Plugin{{Kind: plugin.Network}}},
		"no kind":       {Plugins: []pluginhost.Plugin{{Name: "fake"}}},
		"long run path": {RunDir: "/" + strings.Repeat("x", 70)},
	} {
		if _, err := pluginhost.New(c); !errors.Is(err, plugin.ErrInvalid) {
			t.Errorf("%s: %v, want %v", name, err, plugin.ErrInvalid)
		}
	}
}

// A host that is to take over finds out beside the one that runs whether it can, and touches nothing.
func TestCheck(t *testing.T) {
	ctx, c := deadline(t), place(t)
	h, stop := run(t, c)
	defer stop()
	before := ready(ctx, t, h)
	check := func(change func(c *pluginhost.Config)) error {
		next := c
		change(&next)
		h, err := pluginhost.New(next)
		if err != nil {
			t.Fatal(err)
		}
		return h.Check(ctx)
	}
	if err := check(func(*pluginhost.Config) {}); err != nil {
		t.Error(err)
	}
	if err := check(func(c *pluginhost.Config) { c.Dir = t.TempDir() }); !errors.Is(err, plugin.ErrNotFound) {
		t.Errorf("without executables: %v", err)
	}
	if err := check(func(c *pluginhost.Config) { c.StateDir = t.TempDir() }); err != nil {
		t.Errorf("where nothing runs: %v", err)
	}
	if now := ready(ctx, t, h); now.PID != before.PID || now.Restarts != 0 {
		t.Errorf("the plugin is %+v, before %+v", now, before)
	}
}
