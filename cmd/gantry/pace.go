package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// The collector runs when the heap has grown by a part of what was live at its last run. A small heap may triple: the live heap of
// an idle cluster is some 15 MB, and a busy one spends an eighth less CPU on each write. From smallHeap on, growth is dearer than
// the CPU that it spares, and only largeShare of what is live beyond is added to it.
const (
	smallPercent = 200
	smallHeap    = 40 << 20
	largeShare   = 40 // percent
)

// gcPercent is by how much a heap may grow that has so many bytes live.
func gcPercent(live uint64) int {
	if live <= smallHeap {
		return smallPercent
	}
	growth := smallHeap*smallPercent/100 + (live-smallHeap)*largeShare/100
	return int(growth * 100 / live)
}

// setGC sets the collector's pace before anything is allocated, and again after each of its runs. GOGC in the environment goes first.
func setGC() {
	if os.Getenv("GOGC") != "" {
		return
	}
	debug.SetGCPercent(smallPercent)
	followHeap(&pace{percent: smallPercent, live: []metrics.Sample{{Name: "/gc/heap/live:bytes"}}})
}

// pace is used by one clean-up at a time.
type pace struct {
	percent int
	live    []metrics.Sample
}

// followHeap has the pace set by the clean-up of an object that each run of the collector finds dead.
func followHeap(p *pace) {
	runtime.AddCleanup(&struct{ p *pace }{p}, func(p *pace) {
		p.set()
		followHeap(p)
	}, p)
}

// set changes the pace when it is off by a tenth: each change stops the world for a moment.
func (p *pace) set() {
	metrics.Read(p.live)
	want := gcPercent(p.live[0].Value.Uint64())
	if 10*max(want-p.percent, p.percent-want) < p.percent {
		return
	}
	p.percent = want
	debug.SetGCPercent(want)
}
