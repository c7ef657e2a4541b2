package agent

import (
	"context"
	"testing"
	"time"
)

func TestAGateBoundsAndForgets(t *testing.T) {
	g := make(gate, 1)
	leave, err := g.enter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := g.enter(ended); err == nil {
		t.Error("entered a full gate")
	}
	leave()
	leave() // gives nothing away that is not its own
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for range 2 { // the first never leaves
		if _, err := g.enter(ctx); err != nil {
			t.Fatal("a place was kept for ever")
		}
	}
}
