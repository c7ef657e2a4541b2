package main

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"github.com/gantryio/gantry/core/store"
	"github.com/gantryio/gantry/interfaces/plugin/resident"
)

// A server that has become quiet would keep what its last burst left behind, its start for one, until the collector's
// own turn, which without allocations comes after minutes. So every trimInterval it is asked whether it is quiet
// and has enough to give back.
const (
	trimInterval = 5 * time.Second
	worthwhile   = 8 << 20 // unused, and not yet returned to the machine
	// quietFor is in how many intervals, at least, what is unused would be used again. A collection of a large heap takes some tenths
	// of a second of CPU, and would come anyway then.
	quietFor = 4
)

// heap is what the trimmer looks at, in bytes.
type heap struct {
	allocated uint64 // since the process started
	live      uint64 // marked by the last collection
	objects   uint64 // live ones and garbage
	idle      uint64 // free, but still taken from the machine
}

// unused is an upper limit: some of what was allocated since the last collection is live.
func (h heap) unused() uint64 { return h.objects - min(h.live, h.objects) + h.idle }

// shouldTrim says whether little happened since before and the machine would get back a worthwhile amount.
func shouldTrim(before, now heap) bool {
	return now.unused() >= max(worthwhile, quietFor*(now.allocated-before.allocated))
}

// What a process has mapped of files, here the executable and etcd's database, counts as its memory until the machine is short of
// it. Most of it is not needed again: the start touches nearly all, and each compaction the whole database.
const (
	// dropInterval is shorter than the heap's: a database that thousands of objects a second are written to maps 15 MB in a second.
	dropInterval = time.Second
	// filesWorth is how much more than what is used has to be mapped for it to be dropped. The worst that this can cost is to map so much
	// again in every other interval: 16 MB are some 250 faults, a millisecond at most.
	filesWorth = 16 << 20
	// filesFade is what part of what is taken for used is no longer in each interval, so that what a busy time has used, the start for
	// one, is dropped some seconds after it.
	filesFade = 16
)

// files says when to drop the pages of files. What is mapped again within an interval of that is taken for what is used.
type files struct {
	used    uint64
	dropped bool
}

// should takes how much is mapped now, and is asked once in each interval.
func (f *files) should(mapped uint64) bool {
	f.used -= f.used / filesFade
	if f.dropped || mapped < f.used {
		f.used = mapped
	}
	f.dropped = mapped >= f.used+filesWorth
	return f.dropped
}

// trimMemory collects and returns memory whenever the process has become quiet, and drops the pages of files, until ctx ends.
func trimMemory(ctx context.Context, st *store.Store) error {
	samples := []metrics.Sample{
		{Name: "/gc/heap/allocs:bytes"},
		{Name: "/gc/heap/live:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
	}
	read := func() heap {
		metrics.Read(samples)
		return heap{samples[0].Value.Uint64(), samples[1].Value.Uint64(), samples[2].Value.Uint64(), samples[3].Value.Uint64()}
	}
	var mapped files
	trim, drop := time.NewTicker(trimInterval), time.NewTicker(dropInterval)
	defer trim.Stop()
	defer drop.Stop()
	for before := read(); ; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-trim.C:
			now := read()
			if shouldTrim(before, now) {
				debug.FreeOSMemory()
				now = read()
			}
			before = now
		case <-drop.C:
			if mapped.should(resident.Files()) {
				st.Mapped(resident.Drop)
				resident.DropExecutable()
			}
		}
	}
}
