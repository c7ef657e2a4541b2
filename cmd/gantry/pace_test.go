package main

import (
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

func TestGCPercent(t *testing.T) {
	const mb = 1 << 20
	for live, want := range map[uint64]int{0: 200, 15 * mb: 200, 40 * mb: 200, 80 * mb: 120, 160 * mb: 80, 320 * mb: 60, 1000 * mb: 46} {
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
	deadline := time.Now().Add(time.Minute)
	for {
		runtime.GC()
		percent := debug.SetGCPercent(100)
		debug.SetGCPercent(percent)
		if percent <= gcPercent(400<<20) { // other things live as well
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the heap may still grow by %d%%", percent)
		}
		runtime.Gosched() // to the clean-up
	}
	runtime.KeepAlive(large)
}
