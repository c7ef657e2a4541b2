// Command plugin-service-fake is the service plugin "fake".
package main

import (
	"github.com/gantryio/gantry/interfaces/plugin"
	"github.com/gantryio/gantry/interfaces/service"
	"github.com/gantryio/gantry/plugins/service/fake"
)

// version is set by the linker.
var version = "dev"

func main() {
	plugin.Serve(plugin.Info{Kind: plugin.Service, Name: "fake", Version: version}, service.Register,
		func(c fake.Config) (service.Proxy, error) { return fake.Open(c) })
}
