// Command plugin-network-socket is the network plugin "socket".
package main

import (
	"github.com/gantryio/gantry/interfaces/plugin"
	"github.com/gantryio/gantry/interfaces/plugin/adopt"
	"github.com/gantryio/gantry/plugins/network/socket"
)

// version is set by the linker.
var version = "dev"

func main() {
	plugin.Serve(plugin.Info{Kind: plugin.Network, Name: "socket", Version: version}, adopt.Register, socket.Open)
}
