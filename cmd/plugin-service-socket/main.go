// Command plugin-service-socket is the service plugin "socket".
package main

import (
	"github.com/gantryio/gantry/interfaces/plugin"
	"github.com/gantryio/gantry/plugins/service/socket"
)

// version is set by the linker.
var version = "dev"

func main() {
	plugin.Serve(plugin.Info{Kind: plugin.Service, Name: "socket", Version: version}, socket.Register, socket.Open)
}
