// Command plugin-network-cni is the network plugin "cni".
package main

import (
	"github.com/gantryio/gantry/interfaces/network"
	"github.com/gantryio/gantry/interfaces/plugin"
	"github.com/gantryio/gantry/plugins/network/cni"
)

// version is set by the linker.
var version = "dev"

func main() {
	plugin.Serve(plugin.Info{Kind: plugin.Network, Name: "cni", Version: version}, network.Register,
		func(c cni.Config) (network.Network, error) { return cni.Open(c) })
}
