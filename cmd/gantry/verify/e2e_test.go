//go:build e2e

package verify

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/gantryio/gantry/interfaces/network"
	"github.com/gantryio/gantry/interfaces/plugin"
	"github.com/gantryio/gantry/interfaces/plugin/plugintest"
	"github.com/gantryio/gantry/plugins/network/fake"
)

// TestMain lets the test's own executable be the plugin.
func TestMain(m *testing.M) {
	if os.Getenv(plugin.Handshake.MagicCookieKey) == "" {
		os.Exit(plugintest.Isolate(m))
	}
	info := plugin.Info{Kind: plugin.Network, Name: "durable", Version: "1"}
	if os.Getenv("GANTRY_LENIENT") != "" {
		plugin.Serve(info, network.Register, func(map[string]any) (network.Network, error) { return fake.Open(fake.Config{}) })
		return
	}
	plugin.Serve(info, network.Register, func(c settings) (network.Network, error) { return open(c) })
}

type settings struct {
	Dir   string
	Fault string
}

// durable is the fake with a memory, as real networks have one.
type durable struct {
	*fake.Network
	settings
	files sync.Mutex
}

var (
	_ network.Network = (*durable)(nil)
	_ plugin.Stopper  = (*durable)(nil)
)

func open(c settings) (*durable, error) {
	n, err := fake.Open(fake.Config{})
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, err
	}
	d := &durable{Network: n, settings: c}
	files, err := filepath.Glob(filepath.Join(c.Dir, "*.json"))
	for _, f := range files {
		var s network.Sandbox
		raw, readErr := os.ReadFile(f)
		if readErr == nil {
			readErr = json.Unmarshal(raw, &s)
		}
		if readErr != nil {
			return nil, readErr
		}
		if _, err := n.Attach(context.Background(), s); err != nil {
			return nil, err
		}
	}
	if c.Fault == "leaves an interface" {
		_ = netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "left0"}})
	}
	return d, err
}

func (d *durable) file(id string) string { return filepath.Join(d.Dir, id+".json") }

func (d *durable) Attach(ctx context.Context, s network.Sandbox) (network.Attachment, error) {
	d.files.Lock()
	defer d.files.Unlock()
	if d.Fault == "half done" {
		if err := os.WriteFile(d.file(s.ID), nil, 0o600); err != nil {
			return network.Attachment{}, err
		}
		time.Sleep(50 * time.Millisecond)
	}
	if raw, err := json.Marshal(s); err != nil {
		return network.Attachment{}, err
	} else if d.Fault != "forgets" {
		if err := os.WriteFile(d.file(s.ID)+".new", raw, 0o600); err != nil {
			return network.Attachment{}, err
		}
		if err := os.Rename(d.file(s.ID)+".new", d.file(s.ID)); err != nil {
			return network.Attachment{}, err
		}
	}
	return d.Network.Attach(ctx, s)
}

func (d *durable) Detach(ctx context.Context, s network.Sandbox) error {
	d.files.Lock()
	defer d.files.Unlock()
	if err := os.Remove(d.file(s.ID)); err != nil && !os.IsNotExist(err) {
		return err
	}
	return d.Network.Detach(ctx, s)
}

func (d *durable) Stop(context.Context) error {
	if d.Fault == "cannot be stopped twice" {
		if err := os.Mkdir(filepath.Join(d.Dir, "stopped"), 0o700); err != nil {
			return fmt.Errorf("stop: %w", err)
		}
	}
	return nil
}

// TestVerdicts plants one fault each that only a process can have.
func TestVerdicts(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for fault, by := range map[string]string{
		"":                        "",
		"forgets":                 "a killed process is started again and knows what it did",
		"half done":               "killed in the middle of a call",
		"lenient":                 "a setting that does not exist is refused",
		"leaves an interface":     "stopping leaves nothing",
		"cannot be stopped twice": "stopping leaves nothing",
	} {
		t.Run(fault, func(t *testing.T) {
			if fault == "lenient" {
				t.Setenv("GANTRY_LENIENT", "yes")
			}
			s := Subject{Kind: plugin.Network, Path: self, Driver: "durable", Config: fmt.Sprintf(`{"Dir": "${dir}/n", "Fault": %q}`, fault)}
			judged := false
			results, err := Run(s, time.Minute, nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range results {
				judged = judged || r.Name == by
				if by == "" && !r.Passed() || by == r.Name && r.Passed() {
					t.Errorf("%s: passed is %v: %v", r.Name, r.Passed(), r.Problems)
				}
			}
			if !judged && by != "" {
				t.Errorf("there is no verdict on %q", by)
			}
			if l, err := netlink.LinkByName("left0"); err == nil {
				_ = netlink.LinkDel(l)
			}
		})
	}
}
