package containerd

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pelletier/go-toml/v2"

	"github.com/gantryio/gantry/interfaces/plugin"
)

func good(t *testing.T) Config {
	dir := t.TempDir()
	return Config{
		Root: filepath.Join(dir, "root"), State: "/run/g", Stack: "/stack", PauseArchive: "/pause.tar", PauseImage: "gantry.local/pause:1",
		Shim: "/bin/gantry-cni", AttachSocket: "/run/attach.sock", CertsDir: "/certs",
	}
}

// at walks down a decoded file.
func at(t *testing.T, from any, path ...string) any {
	t.Helper()
	for _, key := range path {
		m, ok := from.(map[string]any)
		if !ok {
			t.Fatalf("%q is not in a table", key)
		}
		from = m[key]
	}
	return from
}

func TestRender(t *testing.T) {
	const cri, images = "io.containerd.cri.v1.runtime", "io.containerd.cri.v1.images"
	for _, test := range []struct {
		name    string
		machine machine
		path    []string
		want    any
	}{
		{name: "version", path: []string{"version"}, want: int64(4)},
		{name: "nothing is imported", path: []string{"imports"}, want: []any{}},
		{name: "with all capabilities", path: []string{"plugins", cri, "restrict_oom_score_adj"}, want: false},
		{name: "without CAP_SYS_RESOURCE", machine: machine{lacksResource: true}, path: []string{"plugins", cri, "restrict_oom_score_adj"}, want: true},
		{name: "snapshotter", path: []string{"plugins", images, "snapshotter"}, want: "overlayfs"},
		{name: "on an overlay", machine: machine{overlayRoot: true}, path: []string{"plugins", images, "snapshotter"}, want: "native"},
		{name: "archives on an overlay", machine: machine{overlayRoot: true}, path: []string{"plugins", "io.containerd.transfer.v1.local", "unpack_config"}, want: []any{
			map[string]any{"platform": runtime.GOOS + "/" + runtime.GOARCH, "snapshotter": "native", "differ": "walking"},
		}},
		{name: "sandbox image", path: []string{"plugins", images, "pinned_images", "sandbox"}, want: "gantry.local/pause:1"},
		{name: "registries", path: []string{"plugins", images, "registry", "config_path"}, want: "/certs"},
		{name: "runc", path: []string{"plugins", cri, "containerd", "runtimes", "runc", "options", "BinaryName"}, want: "/stack/runc"},
		{name: "cgroups", path: []string{"plugins", cri, "containerd", "runtimes", "runc", "options", "SystemdCgroup"}, want: false},
		{name: "socket", path: []string{"plugins", "io.containerd.server.v1.grpc", "address"}, want: "/run/g/c.sock"},
		{name: "shims' sockets", path: []string{"plugins", "io.containerd.shim.v1.manager", "socket_dir"}, want: "/run/g/s"},
	} {
		t.Run(test.name, func(t *testing.T) {
			raw, err := good(t).render(test.machine)
			if err != nil {
				t.Fatal(err)
			}
			var got any
			if err := toml.Unmarshal(raw, &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, at(t, got, test.path...)); diff != "" {
				t.Errorf("%v differs (-want +got):\n%s", test.path, diff)
			}
		})
	}
}

func TestCheck(t *testing.T) {
	for name, spoil := range map[string]func(*Config){
		"relative root":  func(c *Config) { c.Root = "root" },
		"no stack":       func(c *Config) { c.Stack = "" },
		"no pause image": func(c *Config) { c.PauseArchive = "" },
		"long state":     func(c *Config) { c.State = "/" + strings.Repeat("s", MaxState) },
	} {
		c := good(t)
		spoil(&c)
		if err := c.check(); !errors.Is(err, plugin.ErrInvalid) {
			t.Errorf("%s: %v, want %v", name, err, plugin.ErrInvalid)
		}
	}
	if err := good(t).check(); err != nil {
		t.Error(err)
	}
}

func TestOnlyTheShimIsConfigured(t *testing.T) {
	c := good(t)
	for _, dir := range []string{c.cniConf(), c.cniBin()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := c.writeCNI(); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile(filepath.Join(c.cniConf(), "10-gantry.conflist"))
	if err != nil {
		t.Fatal(err)
	}
	var list struct{ Plugins []map[string]any }
	if err := json.Unmarshal(raw, &list); err != nil || len(list.Plugins) != 1 || list.Plugins[0]["type"] != shimName || list.Plugins[0]["socket"] != c.AttachSocket {
		t.Errorf("conflist is %s (%v)", raw, err)
	}
	if to, err := os.Readlink(filepath.Join(c.cniBin(), shimName)); err != nil || to != c.Shim {
		t.Errorf("the shim is %q, %v", to, err)
	}
}

func TestUnder(t *testing.T) {
	for _, test := range []struct {
		path, dir string
		want      bool
	}{{"/a/b", "/a", true}, {"/a", "/a", true}, {"/ab", "/a", false}, {"/", "/a", false}} {
		if got := under(test.path, test.dir); got != test.want {
			t.Errorf("under(%q, %q) = %v", test.path, test.dir, got)
		}
	}
}
