package containerd

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"golang.org/x/sys/unix"
)

// machine is what the configuration depends on beside Config.
type machine struct {
	// lacksResource says that CAP_SYS_RESOURCE is missing, without which no process may lower its OOM
	// score (proc(5)).
	lacksResource bool
	// overlayRoot says that Root is on an overlay file system, on which overlays cannot be stacked.
	overlayRoot bool
}

func (m machine) snapshotter() string {
	if m.overlayRoot {
		return "native"
	}
	return "overlayfs"
}

func probe(root string) machine {
	var m machine
	var fs unix.Statfs_t
	if err := unix.Statfs(root, &fs); err == nil {
		m.overlayRoot = fs.Type == unix.OVERLAYFS_SUPER_MAGIC
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err == nil {
		m.lacksResource = data[0].Effective&(1<<unix.CAP_SYS_RESOURCE) == 0
	}
	return m
}

type table = map[string]any

// disabled are containerd's plugins that Gantry has no use for, or that would write outside Root and
// State (nri, opt).
var disabled = []string{
	"io.containerd.nri.v1.nri",
	"io.containerd.internal.v1.opt",
	"io.containerd.monitor.container.v1.restart",
	"io.containerd.image-verifier.v1.bindir",
	"io.containerd.snapshotter.v1.blockfile",
	"io.containerd.snapshotter.v1.erofs",
	"io.containerd.differ.v1.erofs",
	"io.containerd.mount-handler.v1.erofs",
	"io.containerd.tracing.processor.v1.otlp",
	"io.containerd.internal.v1.tracing",
}

// render makes containerd's configuration, version 4.
func (c Config) render(m machine) ([]byte, error) {
	shim := c.ShimFront
	if shim == "" {
		shim = c.shim()
	}
	runc := func(sandboxer string) table {
		return table{
			"runtime_type": "io.containerd.runc.v2",
			"runtime_path": shim,
			"sandboxer":    sandboxer,
			"options": table{
				"BinaryName": filepath.Join(c.Stack, "runc"), "Root": c.runcRoot(), "SystemdCgroup": c.SystemdCgroup,
			},
			"disable_pause_image_pull": sandboxer == "shim",
		}
	}
	text, err := toml.Marshal(table{
		"version": 4, "root": filepath.Join(c.Root, "root"), "state": filepath.Join(c.State, "state"),
		"temp": filepath.Join(c.Root, "tmp"), "imports": []string{}, "disabled_plugins": disabled,
		"plugins": table{
			"io.containerd.cri.v1.images": table{
				"snapshotter":   m.snapshotter(),
				"pinned_images": table{"sandbox": c.PauseImage},
				"registry":      table{"config_path": c.CertsDir},
				// Without a copy of each layer in the content store images take half the disk; nothing of
				// Gantry pushes images.
				"discard_unpacked_layers": true,
				"use_local_image_pull":    true,
			},
			"io.containerd.cri.v1.runtime": table{
				"restrict_oom_score_adj":       m.lacksResource,
				"netns_mounts_under_state_dir": true,
				"enable_criu":                  false,
				// By default containerd reads every container's cgroup each second to know rates that are seldom
				// asked for. This is as often as metrics are read.
				"stats_collect_period": "15s",
				"containerd": table{
					"default_runtime_name": handler,
					"runtimes":             table{handler: runc("shim"), pauseHandler: runc("podsandbox")},
				},
				"cni": table{
					"bin_dirs": []string{c.cniBin()}, "conf_dir": c.cniConf(), "max_conf_num": 1, "use_internal_loopback": true,
				},
			},
			// Archives are unpacked for the snapshotter that CRI uses.
			"io.containerd.transfer.v1.local": table{
				"unpack_config": []table{{"platform": goruntime.GOOS + "/" + goruntime.GOARCH, "snapshotter": m.snapshotter(), "differ": "walking"}},
			},
			"io.containerd.grpc.v1.cri":     table{"stream_server_address": "127.0.0.1", "stream_server_port": "0"},
			"io.containerd.server.v1.grpc":  table{"address": c.socket()},
			"io.containerd.server.v1.ttrpc": table{"address": c.socket() + ".ttrpc"},
			"io.containerd.shim.v1.manager": table{"socket_dir": filepath.Join(c.State, "s")},
		},
	})
	if err != nil {
		return nil, fmt.Errorf("render containerd configuration: %w", err)
	}
	return text, nil
}

func (c Config) cniConf() string { return filepath.Join(c.Root, "cni", "conf") }
func (c Config) cniBin() string  { return filepath.Join(c.Root, "cni", "bin") }

// shimName is the "type" of the only entry in the conflist, thus the name of the executable.
const shimName = "gantry-cni"

// writeCNI gives containerd a conflist whose only entry is the shim.
func (c Config) writeCNI() error {
	file := filepath.Join(c.cniConf(), "10-gantry.conflist")
	if c.Shim == "" {
		if err := os.Remove(file); err != nil && !os.IsNotExist(err) {
			return fmt.Errorf("remove CNI configuration: %w", err)
		}
		return nil
	}
	text, err := json.MarshalIndent(table{
		"cniVersion": "1.1.0", "name": "gantry",
		"plugins": []table{{
			"type": shimName, "socket": c.AttachSocket,
			"capabilities": table{"portMappings": true, "bandwidth": true},
		}},
	}, "", "  ")
	if err != nil {
		return fmt.Errorf("render CNI configuration: %w", err)
	}
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return fmt.Errorf("write CNI configuration: %w", err)
	}
	link := filepath.Join(c.cniBin(), shimName)
	if to, err := os.Readlink(link); err == nil && to == c.Shim {
		return nil
	}
	if err := os.Remove(link); err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("link CNI shim: %w", err)
	}
	if err := os.Symlink(c.Shim, link); err != nil {
		return fmt.Errorf("link CNI shim: %w", err)
	}
	return nil
}

// under says whether path is dir or below it.
func under(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}
