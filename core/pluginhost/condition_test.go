package pluginhost_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gantryio/gantry/core/pluginhost"
	"github.com/gantryio/gantry/interfaces/network"
	"github.com/gantryio/gantry/interfaces/plugin"
)

// problemFile names the environment variable with the file that a moody plugin reads its problem from.
const problemFile = "GANTRY_TEST_PROBLEM"

// moody is a plugin with a problem of its own.
type moody struct {
	network.Network
	file string
}

var _ plugin.Reporter = moody{}

// Report implements plugin.Reporter. Nobody tells of changes of files without more code than a look each moment.
func (m moody) Report(ctx context.Context, tell func(plugin.Condition) error) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for last := "unknown"; ; {
		raw, _ := os.ReadFile(m.file)
		if now := string(raw); now != last {
			if err := tell(plugin.Condition{Problem: now, Handlers: []string{"found"}}); err != nil {
				return err
			}
			last = now
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// awaitInstance waits until something is true of the only plugin.
func awaitInstance(ctx context.Context, t *testing.T, h *pluginhost.Host, is func(pluginhost.Instance) bool) pluginhost.Instance {
	t.Helper()
	for {
		changed := h.Changed()
		i := h.Instances()[0]
		if is(i) {
			return i
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("the plugin stays %+v", i)
		}
	}
}

func TestPluginsProblem(t *testing.T) {
	ctx, c := deadline(t), place(t)
	file := filepath.Join(t.TempDir(), "problem")
	c.Environment = []string{problemFile + "=" + file}
	h, _ := run(t, c)
	first := ready(ctx, t, h)
	for _, problem := range []string{"socket is away", "", "disk is full"} {
		if err := os.WriteFile(file+".new", []byte(problem), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
		i := awaitInstance(ctx, t, h, func(i pluginhost.Instance) bool {
			return i.Error == problem && i.Up == (problem == "") && len(i.Handlers) == 1
		})
		if i.PID != first.PID || i.Restarts != 0 {
			t.Errorf("with the problem %q the plugin was launched again: %+v", problem, i)
		}
		// A plugin that has a problem is still the one that is asked.
		n, _, err := h.Network("")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := n.List(ctx); err != nil {
			t.Errorf("with the problem %q it does not answer: %v", problem, err)
		}
	}
}
