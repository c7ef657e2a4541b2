// Command plugin-network-routed is a network plugin of a vendor: each pod gets a veth pair and a route of its own, and no
// bridge. It is an example that works, in a module of its own, as a vendor's would be.
package main

import (
	"github.com/gantryio/gantry/interfaces/network"
	"github.com/gantryio/gantry/interfaces/plugin"
)

// version is set by the linker.
var version = "dev"

func main() {
	plugin.Serve(plugin.Info{Kind: plugin.Network, Name: "routed", Version: version}, network.Register,
		func(c Config) (network.Network, error) { return Open(c) })
}
