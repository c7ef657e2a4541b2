package run

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) add(line string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, line)
}

func (j *journal) part(name string) Part {
	ready := make(chan struct{})
	return Part{Name: name, Ready: ready, Runner: Func(func(ctx context.Context) error {
		j.add("start " + name)
		close(ready)
		<-ctx.Done()
		j.add("stop " + name)
		return ctx.Err()
	})}
}

func TestPartsStartInOrderAndStopInReverse(t *testing.T) {
	j := &journal{}
	ctx, cancel := context.WithCancel(t.Context())
	last := j.part("c")
	go func() {
		<-last.Ready
		cancel()
	}()
	if err := All(ctx, j.part("a"), j.part("b"), last); err != nil {
		t.Fatal(err)
	}
	want := []string{"start a", "start b", "start c", "stop c", "stop b", "stop a"}
	if d := cmp.Diff(want, j.lines); d != "" {
		t.Error(d)
	}
}

func TestAPartThatFailsStopsTheOthers(t *testing.T) {
	j := &journal{}
	broken := errors.New("broken")
	err := All(t.Context(), j.part("a"),
		Part{Name: "b", Runner: Func(func(context.Context) error { return broken })})
	if !errors.Is(err, broken) {
		t.Errorf("got %v, want %v", err, broken)
	}
	if d := cmp.Diff([]string{"start a", "stop a"}, j.lines); d != "" {
		t.Error(d)
	}
}

func TestAPartThatFailsBeforeItIsReadyKeepsTheNextFromStarting(t *testing.T) {
	broken := errors.New("broken")
	err := All(t.Context(),
		Part{Name: "a", Ready: make(chan struct{}), Runner: Func(func(context.Context) error { return broken })},
		Part{Name: "b", Runner: Func(func(context.Context) error { t.Error("b started"); return nil })})
	if !errors.Is(err, broken) {
		t.Errorf("got %v, want %v", err, broken)
	}
}
