package agent

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"
)

func TestJourneysEndWithReady(t *testing.T) {
	a := &Agent{}
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, stage := range []string{StageSeen, "sandbox", StageReady, "start of c"} {
		a.Note("p", Span{stage, at, at})
	}
	want := []Span{{StageSeen, at, at}, {"sandbox", at, at}, {StageReady, at, at}}
	if diff := cmp.Diff(want, a.Journey("p")); diff != "" {
		t.Error(diff)
	}
	if got := a.Journey("unknown"); got != nil {
		t.Errorf("an unknown pod's journey is %v", got)
	}
}

func TestJourneysAreBounded(t *testing.T) {
	a := &Agent{}
	for i := range maxJourneys + 10 {
		for range maxSpans + 1 {
			a.Note(types.UID(fmt.Sprint(i)), Span{Stage: "sandbox"})
		}
	}
	if n := len(a.journeys.by); n != maxJourneys {
		t.Errorf("%d journeys are remembered, want %d", n, maxJourneys)
	}
	if a.Journey("9") != nil || len(a.Journey("10")) != maxSpans {
		t.Errorf("the oldest remembered journey has %d spans, want %d", len(a.Journey("10")), maxSpans)
	}
}
