//go:build e2e

package node_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/gantryio/gantry/core/pluginhost"
	"github.com/gantryio/gantry/interfaces/plugin"
	"github.com/gantryio/gantry/interfaces/runtime/runtimetest"
	"github.com/gantryio/gantry/plugins/runtime/cri"
	"github.com/gantryio/gantry/test/foreign"
)

// TestForeignConformance runs the suite against a runtime that is years older than CRI as we know it, with our network
// beneath.
func TestForeignConformance(t *testing.T) {
	repo := root(t)
	debian := os.Getenv("GANTRY_E2E_DEBIAN")
	if debian == "" {
		debian = filepath.Join(repo, "bin", "debian")
	}
	images := filepath.Join(repo, "bin", "images")
	r := foreign.Start(t, debian, "", "gantry.local/pause:1", filepath.Join(images, "pause.tar"), filepath.Join(images, "demo-1.tar"))
	n := newNode(t, func(dir string) pluginhost.Plugin {
		return pluginhost.Plugin{Kind: plugin.Runtime, Name: "debian", Driver: "cri", Config: cri.Config{
			Endpoint: r.Socket, CNIConfDir: r.ConfDir, CNIBinDir: r.BinDir, State: filepath.Join(dir, "cri"),
			Shim: filepath.Join(dir, "bin", "gantry-cni"), AttachSocket: filepath.Join(dir, "attach.sock"),
			Loopback: filepath.Join(repo, "bin", "stack", "cni", "loopback"),
		}}
	})
	rt, _, _, err := n.host.Runtime("debian")
	if err != nil {
		t.Fatal(err)
	}
	runtimetest.Suite{
		Runtime: rt, Image: demo, Absent: "gantry.local/absent:1", LogDirectory: filepath.Join(n.dir, "log"), CgroupParent: cgroup + "/foreign",
	}.Run(t)
}
