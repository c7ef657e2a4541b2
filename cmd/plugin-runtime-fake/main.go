// Command plugin-runtime-fake is the runtime plugin "fake".
package main

import (
	"github.com/gantryio/gantry/interfaces/plugin"
	"github.com/gantryio/gantry/interfaces/runtime"
	"github.com/gantryio/gantry/plugins/runtime/fake"
)

// version is set by the linker.
var version = "dev"

func main() {
	plugin.Serve(plugin.Info{Kind: plugin.Runtime, Name: "fake", Version: version}, runtime.Register,
		func(struct{}) (runtime.Server, error) { return fake.New(fake.Options{}).Server(), nil })
}
