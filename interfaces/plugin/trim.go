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
	// look is how often the executable's pages are given back that have been used since, once they are as much as enough. Looking takes
	// some 10 µs, dropping them and mapping them again with the next call less than a millisecond.
	look   = time.Second / 2
	enough = 4 << 20
	// trimFirst is when the heap is given back, too: long enough after the start that nobody waits for the plugin any more. A
	// collection of so small a heap takes a millisecond or two.
	trimFirst = 5 * time.Second
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
	collect := time.Now().Add(trimFirst)
	for {
		time.Sleep(look)
		if now := time.Now(); now.After(collect) {
			collect = now.Add(trimAgain)
			resident.Trim()
		} else if resident.Files() >= enough {
			resident.DropExecutable()
		}
	}
}
