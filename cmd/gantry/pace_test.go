package main

import (
	"runtime"
	"runtime/debug"
	"testing"
)

func TestGCPercent(t *testing.T) {
	const mb = 1 << 20
	for live, want := range map[uint64]int{0: 200, 15 * mb: 200, 40 * mb: 200, 80 * mb: 112, 160 * mb: 68, 320 * mb: 46, 1000 * mb: 32} {
		if got := gcPercent(live); got != want {
			t.Errorf("with %d MB live the heap may grow by %d%%, want %d%%", live/mb, got, want)
		}
	}
}

func TestThePaceFollowsTheHeap(t *testing.T) {
	t.Setenv("GOGC", "")
	before := debug.SetGCPercent(100)
	defer debug.SetGCPercent(before)
	setGC()
	large := make([]byte, 400<<20)
	for {
		runtime.GC()
		percent := debug.SetGCPercent(100)
		debug.SetGCPercent(percent)
		if percent == gcPercent(400<<20) || percent < 50 {
			break
		}
		select {
		case <-t.Context().Done():
			t.Fatalf("the heap may still grow by %d%%", percent)
		default:
		}
	}
	runtime.KeepAlive(large)
}
