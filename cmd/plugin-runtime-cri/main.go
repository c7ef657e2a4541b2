// Command plugin-runtime-cri is the runtime plugin "cri".
package main

import (
	"github.com/gantryio/gantry/interfaces/plugin"
	"github.com/gantryio/gantry/plugins/runtime/cri"
)

// version is set by the linker.
var version = "dev"

func main() {
	plugin.Serve(plugin.Info{Kind: plugin.Runtime, Name: "cri", Version: version}, cri.Register, cri.Open)
}
