package main

import (
	"context"
	"runtime/metrics"
	"time"

	"github.com/gantryio/gantry/interfaces/plugin/resident"
)

// A server that has become idle would keep what its last burst left behind, its start for one, until the collector's
// own turn, which without allocations comes after minutes. So every trimInterval it is asked whether it is idle
// and has enough to give back.
const (
	trimInterval = 5 * time.Second
	idleAllocs   = 2 << 20 // allocated during one interval: more than an idle cluster's leases and status need
	worthwhile   = 8 << 20 // unused, and not yet returned to the machine
)

// heap is what the trimmer looks at, in bytes.
type heap struct {
	allocated uint64 // since the process started
	live      uint64 // marked by the last collection
	objects   uint64 // live ones and garbage
	idle      uint64 // free, but still taken from the machine
}

// garbage is an upper limit: some of what was allocated since the last collection is live.
func (h heap) garbage() uint64 { return h.objects - min(h.live, h.objects) }

// shouldTrim says whether nearly nothing happened since before and the machine would get back a worthwhile amount.
func shouldTrim(before, now heap) bool {
	return now.allocated-before.allocated < idleAllocs && now.garbage()+now.idle >= worthwhile
}

// trimMemory collects and returns memory whenever the process has become idle, until ctx ends.
func trimMemory(ctx context.Context) error {
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
	tick := time.NewTicker(trimInterval)
	defer tick.Stop()
	for before := read(); ; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		now := read()
		if shouldTrim(before, now) {
			resident.Trim()
			now = read()
		}
		before = now
	}
}
