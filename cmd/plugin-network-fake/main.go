// Command plugin-network-fake is the network plugin "fake".
package main

import (
	"github.com/gantryio/gantry/interfaces/network"
	"github.com/gantryio/gantry/interfaces/plugin"
	"github.com/gantryio/gantry/plugins/network/fake"
)

// version is set by the linker.
var version = "dev"

func main() {
	plugin.Serve(plugin.Info{Kind: plugin.Network, Name: "fake", Version: version}, network.Register,
		func(c fake.Config) (network.Network, error) { return fake.Open(c) })
}
