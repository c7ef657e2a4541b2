// Command plugin-runtime-containerd is the runtime plugin "containerd".
package main

import (
	"github.com/gantryio/gantry/interfaces/plugin"
	"github.com/gantryio/gantry/plugins/runtime/containerd"
)

// version is set by the linker.
var version = "dev"

func main() {
	plugin.Serve(plugin.Info{Kind: plugin.Runtime, Name: "containerd", Version: version}, containerd.Register, containerd.Open)
}
