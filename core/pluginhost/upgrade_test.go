package pluginhost_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gantryio/gantry/core/pluginhost"
	"github.com/gantryio/gantry/interfaces/network"
	"github.com/gantryio/gantry/interfaces/plugin/cgroup"
	"github.com/gantryio/gantry/interfaces/plugin/process"
)

// gateFile names the environment variable with the file that a gated plugin waits for.
const gateFile = "GANTRY_TEST_GATE"

// gated is a plugin whose detach of "slow" takes until there is a file, that of "hog" much memory, and that of "talker" prints much.
type gated struct {
	network.Network
	file string
}

// Detach implements network.Network. It tells by a file of its own that it waits.
func (g gated) Detach(ctx context.Context, s network.Sandbox) error {
	if s.ID == "hog" {
		for hoard := [][]byte{}; len(hoard) < 64; {
			hoard = append(hoard, bytes.Repeat([]byte{1}, 8<<20))
		}
	}
	if s.ID == "talker" {
		fmt.Println("said on standard output")
		fmt.Fprintln(os.Stderr, strings.Repeat("said much ", 1<<15)+"on standard error")
	}
	if s.ID != "slow" {
		return g.Network.Detach(ctx, s)
	}
	if err := os.WriteFile(g.file+".waits", nil, 0o600); err != nil {
		return err
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := os.Stat(g.file); err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func find(t *testing.T, pid int) process.ID {
	t.Helper()
	id, err := process.Find(pid)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// flood calls the plugin without a pause until the returned function is called, which tells what failed.
func flood(ctx context.Context, t *testing.T, h *pluginhost.Host) func() error {
	t.Helper()
	n, _, err := h.Network("")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		var errs []error
		for ctx.Err() == nil && len(errs) < 5 {
			if _, err := n.List(ctx); err != nil && ctx.Err() == nil {
				errs = append(errs, err)
			}
		}
		ended <- errors.Join(errs...)
	}()
	return func() error { cancel(); return <-ended }
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func awaitFile(ctx context.Context, t *testing.T, path string) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !exists(path) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s never was", path)
		}
	}
}

func TestAnUpgradeDropsNoCall(t *testing.T) {
	ctx, c := deadline(t), place(t)
	gate := filepath.Join(t.TempDir(), "gate")
	c.Environment = []string{gateFile + "=" + gate}
	h, _ := run(t, c)
	first := find(t, ready(ctx, t, h).PID)
	failed := flood(ctx, t, h)
	n, _, err := h.Network("")
	if err != nil {
		t.Fatal(err)
	}
	slow := make(chan error, 1)
	go func() { slow <- n.Detach(ctx, network.Sandbox{ID: "slow"}) }()
	awaitFile(ctx, t, gate+".waits")

	if err := h.Set(ctx, []pluginhost.Plugin{fakeNetwork("fake", "10.11.0.0/24", 2)}); err != nil {
		t.Fatal(err)
	}
	now := until(ctx, t, h, func(all []pluginhost.Instance) bool { return all[0].Generation == 2 })
	if now[0].PID == first.PID || !now[0].Up || now[0].Update != nil || now[0].Restarts != 0 {
		t.Errorf("after the upgrade: %+v", now[0])
	}
	if p := attachTo(ctx, t, h, "", "a"); p.String()[:6] != "10.11." {
		t.Errorf("the new process gave %v", p)
	}
	if !first.Alive() {
		t.Error("the old process ended before it had answered")
	}
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := <-slow; err != nil {
		t.Errorf("the call of the old process failed: %v", err)
	}
	if err := first.Wait(ctx); err != nil {
		t.Errorf("the old process is left: %v", err)
	}
	if err := failed(); err != nil {
		t.Errorf("calls failed during the upgrade: %v", err)
	}
}

func TestAnUpgradeThatFailsIsRolledBack(t *testing.T) {
	ctx, c := deadline(t), place(t)
	h, stop := run(t, c)
	first := ready(ctx, t, h)
	failed := flood(ctx, t, h)
	bad := fakeNetwork("fake", "nonsense", 2)
	bad.HealthTimeout = 3 * time.Second // time enough to be launched on a busy machine
	if err := h.Set(ctx, []pluginhost.Plugin{bad}); err != nil {
		t.Fatal(err)
	}
	now := until(ctx, t, h, func(all []pluginhost.Instance) bool { return all[0].Update != nil && all[0].Update.RolledBack })
	if !now[0].Up || now[0].PID != first.PID || now[0].Generation != 0 || now[0].Update.Generation != 2 {
		t.Errorf("after the rollback: %+v", now[0])
	}
	if why := now[0].Update.Error; !strings.Contains(why, "it cannot serve") || !strings.Contains(why, "nonsense") {
		t.Errorf("it was rolled back because %q", why)
	}
	if err := failed(); err != nil {
		t.Errorf("calls failed meanwhile: %v", err)
	}
	// What dies then is launched as it was.
	if err := find(t, first.PID).End(time.Second); err != nil {
		t.Fatal(err)
	}
	again := until(ctx, t, h, func(all []pluginhost.Instance) bool { return all[0].Up && all[0].PID != first.PID })
	if again[0].Generation != 0 {
		t.Errorf("launched again: %+v", again[0])
	}
	// Declared anew, it is tried again.
	bad.Generation = 9
	if err := h.Set(ctx, []pluginhost.Plugin{bad}); err != nil {
		t.Fatal(err)
	}
	until(ctx, t, h, func(all []pluginhost.Instance) bool {
		return all[0].Update != nil && all[0].Update.RolledBack && all[0].Update.Generation == 9
	})
	// A good one is taken.
	if err := h.Set(ctx, []pluginhost.Plugin{fakeNetwork("fake", "10.12.0.0/24", 3)}); err != nil {
		t.Fatal(err)
	}
	until(ctx, t, h, func(all []pluginhost.Instance) bool { return all[0].Generation == 3 && all[0].Update == nil })
	stop()
	if left, _ := filepath.Glob(filepath.Join(c.StateDir, "*.next*")); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}

func TestWithoutRollbackTheOldOneGoes(t *testing.T) {
	ctx, c := deadline(t), place(t)
	h, _ := run(t, c)
	first := find(t, ready(ctx, t, h).PID)
	bad := fakeNetwork("fake", "nonsense", 2)
	bad.HealthTimeout, bad.NoRollback = 200*time.Millisecond, true
	if err := h.Set(ctx, []pluginhost.Plugin{bad}); err != nil {
		t.Fatal(err)
	}
	until(ctx, t, h, func(all []pluginhost.Instance) bool { return !all[0].Up && strings.Contains(all[0].Error, "nonsense") })
	if first.Alive() {
		t.Error("the old one serves")
	}
}

func TestAHostThatDiedInTheMiddleOfAnUpgradeLeavesNothing(t *testing.T) {
	for name, slot := range map[string]string{"before the move": ".next", "before the old one ended": ".old"} {
		t.Run(name, func(t *testing.T) {
			ctx, c := deadline(t), place(t)
			second := c
			second.StateDir = filepath.Join(filepath.Dir(c.StateDir), "s2")
			h, stop := run(t, second) // It launches what the other host left.
			stray := find(t, ready(ctx, t, h).PID)
			stop()
			h, stop = run(t, c)
			serves := ready(ctx, t, h)
			stop()
			raw, err := os.ReadFile(filepath.Join(second.StateDir, "network-fake.json"))
			if err == nil {
				err = os.WriteFile(filepath.Join(c.StateDir, "network-fake"+slot), raw, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			h, _ = run(t, c)
			if now := ready(ctx, t, h); now.PID != serves.PID {
				t.Errorf("process %d serves, want %d", now.PID, serves.PID)
			}
			if err := stray.Wait(ctx); err != nil {
				t.Errorf("the other process is left: %v", err)
			}
		})
	}
}

func TestTheReasonOfARefusalIsTold(t *testing.T) {
	ctx, c := deadline(t), place(t)
	c.Plugins[0].Config = map[string]any{"PodCIDR": "10.0.0.0/8", "Colour": "red"}
	h, _ := run(t, c)
	until(ctx, t, h, func(all []pluginhost.Instance) bool {
		return strings.Contains(all[0].Error, "it cannot serve") && strings.Contains(all[0].Error, `unknown field "Colour"`)
	})
}

func TestVersionSkew(t *testing.T) {
	for _, skew := range []int{1, -1} {
		ctx, c := deadline(t), place(t)
		c.Skew = skew
		h, stop := run(t, c)
		i := awaitInstance(ctx, t, h, func(i pluginhost.Instance) bool { return strings.Contains(i.Error, "speaks version") })
		if !strings.Contains(i.Error, "speaks version 1 of the plugin protocol, this host version") {
			t.Errorf("a host with skew %d says %q", skew, i.Error)
		}
		stop()
		if left, err := os.ReadDir(c.RunDir); err != nil || len(left) > 0 {
			t.Errorf("left %v %v", left, err)
		}
	}
}

func TestGarbageIsTold(t *testing.T) {
	ctx, c := deadline(t), place(t)
	c.Plugins[0].Executable = "/bin/echo"
	h, _ := run(t, c)
	awaitInstance(ctx, t, h, func(i pluginhost.Instance) bool {
		return strings.Contains(i.Error, "launch: ") && strings.Contains(i.Error, "is silent")
	})
}

func TestLimitsThatCannotBeAreTold(t *testing.T) {
	ctx, c := deadline(t), place(t)
	c.Cgroups = &cgroup.Tree{Mount: t.TempDir(), Root: "x"}
	h, _ := run(t, c)
	if i := ready(ctx, t, h); !i.Up || !strings.Contains(i.Unlimited, "no cgroups are mounted") {
		t.Errorf("without cgroups: %+v", i)
	}
}
