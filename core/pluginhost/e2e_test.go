//go:build e2e

package pluginhost_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gantryio/gantry/core/pluginhost"
	"github.com/gantryio/gantry/interfaces/network"
	"github.com/gantryio/gantry/interfaces/plugin/cgroup"
)

// A plugin that wants too much memory is killed and started again; the host, and other plugins, do not notice more.
func TestLimits(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("cgroups need root")
	}
	ctx, c := deadline(t), place(t)
	c.Cgroups = &cgroup.Tree{Root: "gantry-host-test/plugins"}
	c.Environment = []string{gateFile + "=" + filepath.Join(t.TempDir(), "gate")}
	c.Plugins[0].Limits = cgroup.Limits{MemoryBytes: 96 << 20, CPUMillis: 500}
	c.Plugins = append(c.Plugins, fakeNetwork("other", "10.8.0.0/24", 0))
	h, stop := run(t, c)
	all := until(ctx, t, h, func(all []pluginhost.Instance) bool { return all[0].Up && all[1].Up })
	for _, i := range all {
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", i.PID))
		want := fmt.Sprintf("gantry-host-test/plugins/network-%s-%d", i.Name, i.PID)
		if err != nil || !strings.Contains(string(raw), want) || i.Unlimited != "" {
			t.Errorf("plugin %s is in %s, want %s; no limits because %q: %v", i.Name, raw, want, i.Unlimited, err)
		}
	}
	n, _, err := h.Network("fake")
	if err != nil {
		t.Fatal(err)
	}
	changed := h.Changed()
	if err := n.Detach(ctx, network.Sandbox{ID: "hog"}); err == nil {
		t.Error("a call that needs more memory than there may be succeeded")
	}
	<-changed
	seen := ""
	now := until(ctx, t, h, func(all []pluginhost.Instance) bool {
		if e := all[0].Error; e != "" {
			seen = e
		}
		return all[0].Up && all[0].PID != 0 && all[0].Restarts == 1
	})
	if seen != "" && !strings.Contains(seen, "was killed for its memory limit of 100663296 bytes") {
		t.Errorf("it was down because %q", seen)
	}
	if now[1].PID != all[1].PID || now[1].Restarts != 0 {
		t.Errorf("the other plugin was %+v and is %+v", all[1], now[1])
	}
	stop()
	if err := h.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob("/sys/fs/cgroup/*/gantry-host-test"); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}
