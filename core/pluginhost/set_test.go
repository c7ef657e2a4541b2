package pluginhost_test

import (
	"context"
	"net/netip"
	"strings"
	"testing"

	"github.com/gantryio/gantry/core/pluginhost"
	"github.com/gantryio/gantry/interfaces/network"
	"github.com/gantryio/gantry/interfaces/plugin"
	"github.com/gantryio/gantry/interfaces/plugin/process"
	"github.com/gantryio/gantry/plugins/network/fake"
)

func fakeNetwork(name, cidr string, generation int64) pluginhost.Plugin {
	return pluginhost.Plugin{
		Kind: plugin.Network, Name: name, Driver: "fake", Config: fake.Config{PodCIDR: cidr}, Generation: generation,
	}
}

// until waits for the instances to be as wanted.
func until(ctx context.Context, t *testing.T, h *pluginhost.Host, want func([]pluginhost.Instance) bool) []pluginhost.Instance {
	t.Helper()
	for {
		changed := h.Changed()
		have := h.Instances()
		if want(have) {
			return have
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("still %+v", have)
		}
	}
}

func attachTo(ctx context.Context, t *testing.T, h *pluginhost.Host, name, sandbox string) netip.Prefix {
	t.Helper()
	n, _, err := h.Network(name)
	if err != nil {
		t.Fatal(err)
	}
	a, err := n.Attach(ctx, network.Sandbox{ID: sandbox})
	if err != nil {
		t.Fatal(err)
	}
	return a.Addresses[0].Prefix
}

func TestPluginsChangeWhileTheHostRuns(t *testing.T) {
	ctx, c := deadline(t), place(t)
	h, _ := run(t, c)
	first := ready(ctx, t, h)

	// A second instance of the same executable, which becomes the default.
	both := []pluginhost.Plugin{fakeNetwork("second", "10.8.0.0/24", 3), c.Plugins[0]}
	if err := h.Set(ctx, both); err != nil {
		t.Fatal(err)
	}
	have := until(ctx, t, h, func(all []pluginhost.Instance) bool { return len(all) == 2 && all[0].Up && all[1].Up })
	if have[0].Name != "second" || have[0].Generation != 3 || have[1].PID != first.PID {
		t.Errorf("got %+v, the first was %+v", have, first)
	}
	if p := attachTo(ctx, t, h, "", "a"); !netip.MustParsePrefix("10.8.0.0/24").Overlaps(p) {
		t.Errorf("the default gave %v", p)
	}
	if p := attachTo(ctx, t, h, "fake", "b"); !netip.MustParsePrefix("10.9.0.0/24").Overlaps(p) {
		t.Errorf("the first gave %v", p)
	}

	// Another configuration replaces the process of that one alone.
	both[0] = fakeNetwork("second", "10.7.0.0/24", 4)
	if err := h.Set(ctx, both); err != nil {
		t.Fatal(err)
	}
	now := until(ctx, t, h, func(all []pluginhost.Instance) bool { return all[0].Up && all[0].Generation == 4 })
	if now[0].PID == have[0].PID || now[1].PID != first.PID {
		t.Errorf("got %+v, before %+v", now, have)
	}

	// One that is not wanted any more ends.
	second, err := process.Find(now[0].PID)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Set(ctx, c.Plugins); err != nil {
		t.Fatal(err)
	}
	if all := h.Instances(); len(all) != 1 || all[0].PID != first.PID {
		t.Errorf("left %+v", all)
	}
	if err := second.Wait(ctx); err != nil {
		t.Errorf("the removed plugin runs on: %v", err)
	}
	if _, _, err := h.Network("second"); err == nil {
		t.Error("the removed plugin is still found")
	}
}

func TestAnExecutableWithAnotherDigestIsRefused(t *testing.T) {
	ctx, c := deadline(t), place(t)
	c.Plugins[0].SHA256 = strings.Repeat("0", 64)
	h, _ := run(t, c)
	until(ctx, t, h, func(all []pluginhost.Instance) bool { return strings.Contains(all[0].Error, "SHA-256 is") })
}

func TestTheNextHostFindsWhatWasSet(t *testing.T) {
	ctx, c := deadline(t), place(t)
	h, stop := run(t, c)
	ready(ctx, t, h)
	if err := h.Set(ctx, append([]pluginhost.Plugin{fakeNetwork("second", "10.8.0.0/24", 3)}, c.Plugins...)); err != nil {
		t.Fatal(err)
	}
	up := func(all []pluginhost.Instance) bool { return len(all) == 2 && all[0].Up && all[1].Up }
	before := until(ctx, t, h, up)
	stop()
	h, stop = run(t, c)
	after := until(ctx, t, h, up)
	for i := range after {
		if after[i].Name != before[i].Name || after[i].PID != before[i].PID || after[i].Generation != before[i].Generation {
			t.Errorf("found %+v, left %+v", after[i], before[i])
		}
	}
	stop()

	// Another configuration of the same plugin holds; the one that was added stays.
	c.Plugins = []pluginhost.Plugin{fakeNetwork("fake", "10.6.0.0/24", 0)}
	h, _ = run(t, c)
	have := until(ctx, t, h, func(all []pluginhost.Instance) bool { return up(all) && all[0].PID != before[1].PID })
	if have[0].Name != "fake" || have[0].PID == before[1].PID || have[1].PID != before[0].PID {
		t.Errorf("have %+v, had %+v", have, before)
	}
	if p := attachTo(ctx, t, h, "fake", "a"); !netip.MustParsePrefix("10.6.0.0/24").Overlaps(p) {
		t.Errorf("got %v", p)
	}
}

// A host that could not take a plugin down, as when it dies meanwhile, leaves that to the next one.
func TestTheNextHostTakesDownWhatWasToGo(t *testing.T) {
	ctx, c := deadline(t), place(t)
	h, stop := run(t, c)
	ready(ctx, t, h)
	if err := h.Set(ctx, append([]pluginhost.Plugin{fakeNetwork("second", "10.8.0.0/24", 3)}, c.Plugins...)); err != nil {
		t.Fatal(err)
	}
	both := func(all []pluginhost.Instance) bool { return len(all) == 2 && all[0].Up && all[1].Up }
	until(ctx, t, h, both)
	over, cancel := context.WithCancel(ctx)
	cancel()
	if err := h.Set(over, c.Plugins); err == nil {
		t.Error("a plugin is taken down without time for it")
	}
	stop()
	h, _ = run(t, c)
	id, err := process.Find(until(ctx, t, h, both)[1].PID)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Set(ctx, c.Plugins); err != nil || id.Alive() {
		t.Errorf("the next host: %v; the plugin lives: %v", err, id.Alive())
	}
	if again, err := pluginhost.New(c); err != nil || len(again.Plugins()) != 1 {
		t.Errorf("%v are still to go: %v", again.Plugins(), err)
	}
}

// Whoever sets plugins when something changes must not wake himself.
func TestSettingTheSameChangesNothing(t *testing.T) {
	ctx, c := deadline(t), place(t)
	h, _ := run(t, c)
	ready(ctx, t, h)
	both := []pluginhost.Plugin{fakeNetwork("second", "10.8.0.0/24", 3), c.Plugins[0]}
	if err := h.Set(ctx, both); err != nil {
		t.Fatal(err)
	}
	until(ctx, t, h, func(all []pluginhost.Instance) bool { return len(all) == 2 && all[0].Up && all[1].Up })
	changed := h.Changed()
	if err := h.Set(ctx, both); err != nil {
		t.Fatal(err)
	}
	select {
	case <-changed:
		t.Error("the same plugins are a change")
	default:
	}
	if err := h.Set(ctx, []pluginhost.Plugin{both[1], both[0]}); err != nil {
		t.Fatal(err)
	}
	select {
	case <-changed:
	default:
		t.Error("another default is no change")
	}
}
