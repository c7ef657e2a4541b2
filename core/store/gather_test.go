package store

import (
	"testing"
	"time"
)

// A write waits for others that come, and for nothing that does not.
func TestWritesGoThoughNoOthersCome(t *testing.T) {
	var g gathering
	const writers = 50
	entered := make(chan struct{})
	for range writers {
		go func() {
			g.enter()
			entered <- struct{}{}
		}()
	}
	deadline := time.After(30 * time.Second)
	for n := range writers { // none of which leaves
		select {
		case <-entered:
		case <-deadline:
			t.Fatalf("%d of %d writes went", n, writers)
		}
	}
	for range writers {
		g.leave()
	}
	if n := g.busy.Load(); n != 0 || g.open != nil {
		t.Errorf("%d writes are counted when all have been answered, some wait: %t", n, g.open != nil)
	}
}
