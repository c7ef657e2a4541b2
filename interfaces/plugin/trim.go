package plugin

import (
	"os"
	"runtime/debug"
	"time"

	"github.com/gantryio/gantry/interfaces/plugin/resident"
)

// A plugin is a small program in a large executable. Starting touches nearly all of it (tables, type descriptors, the init
// functions of libraries), little of which is needed again, and leaves a heap that was as large only then.
const (
	// trimFirst is long enough after the start that nobody waits for the plugin any more.
	trimFirst = 5 * time.Second
	// dropAgain is how often the executable's pages are given back that have been used since. Dropping them takes a millisecond, and
	// the next call some more.
	dropAgain = 15 * time.Second
	// trimAgain is how often the heap is, too. A collection of so small a heap takes a millisecond or two.
	trimAgain = time.Minute
	// heapGrowth is how much the heap may grow between collections, in percent. A plugin's heap is a few megabytes, and
	// collecting it costs little.
	heapGrowth = 50
)

// trim keeps the memory of this process small, for ever.
func trim() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(heapGrowth)
	}
	time.Sleep(trimFirst)
	for {
		resident.Trim()
		for range trimAgain/dropAgain - 1 {
			time.Sleep(dropAgain)
			resident.DropExecutable()
		}
		time.Sleep(dropAgain)
	}
}
