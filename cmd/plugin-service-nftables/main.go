// Command plugin-service-nftables is the service plugin "nftables".
package main

import (
	"github.com/gantryio/gantry/interfaces/plugin"
	"github.com/gantryio/gantry/interfaces/service"
	"github.com/gantryio/gantry/plugins/service/nftables"
)

// version is set by the linker.
var version = "dev"

func main() {
	plugin.Serve(plugin.Info{Kind: plugin.Service, Name: "nftables", Version: version}, service.Register,
		func(c nftables.Config) (service.Proxy, error) { return nftables.Open(c) })
}
