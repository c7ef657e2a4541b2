// Command plugin-scheduler-price is the scheduler plugin "price".
package main

import (
	"github.com/gantryio/gantry/interfaces/plugin"
	"github.com/gantryio/gantry/interfaces/scheduler"
	"github.com/gantryio/gantry/plugins/scheduler/price"
)

// version is set by the linker.
var version = "dev"

func main() {
	plugin.Serve(plugin.Info{Kind: plugin.Scheduler, Name: "price", Version: version}, scheduler.Register,
		func(c price.Config) (scheduler.Judge, error) { return price.Open(c) })
}
