// Package schedulertest is the conformance suite of scheduler plugins.
package schedulertest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryio/gantry/interfaces/plugin/conformance"
	"github.com/gantryio/gantry/interfaces/scheduler"
)

// Suite is what a judge under test has to bring along.
type Suite struct {
	Judge scheduler.Judge
	// Pod is one that the judge has something to say about; the zero value is a pod without anything.
	Pod scheduler.Pod
}

// Run runs the suite.
func (s Suite) Run(t *testing.T) { conformance.Test(t, s.Cases()) }

// Cases are what Run runs.
func (s Suite) Cases() []conformance.Case {
	return []conformance.Case{
		{Name: "a description", Run: s.description},
		{Name: "a verdict for each node", Run: s.verdicts},
		{Name: "equal questions, equal answers", Run: s.equal},
		{Name: "each node for itself", Run: s.alone},
		{Name: "questions at the same time", Run: s.concurrent},
		{Name: "an end of its context", Run: s.ended},
	}
}

func start(t conformance.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func (s Suite) description(t conformance.T) {
	d, err := s.Judge.Describe(start(t))
	if err != nil {
		t.Fatal(err)
	}
	if d.Deadline < 0 {
		t.Errorf("the deadline is %s", d.Deadline)
	}
}

func (s Suite) verdicts(t conformance.T) {
	ctx := start(t)
	for _, n := range []int{0, 1, 3, 5000} {
		for _, v := range s.judge(ctx, t, nodes(n)) {
			if v.Score < 0 || v.Score > scheduler.MaxScore {
				t.Fatalf("a score is %d", v.Score)
			}
		}
	}
}

func (s Suite) equal(t conformance.T) {
	ctx := start(t)
	if diff := cmp.Diff(s.judge(ctx, t, nodes(50)), s.judge(ctx, t, nodes(50))); diff != "" {
		t.Error(diff)
	}
}

func (s Suite) alone(t conformance.T) {
	ctx, all := start(t), nodes(20)
	together := s.judge(ctx, t, all)
	for i := range all {
		if diff := cmp.Diff(together[i:i+1], s.judge(ctx, t, all[i:i+1])); diff != "" {
			t.Errorf("node %d: %s", i, diff)
		}
	}
}

func (s Suite) concurrent(t conformance.T) {
	ctx, all := start(t), nodes(100)
	want := s.judge(ctx, t, all)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			got, err := s.Judge.Judge(ctx, s.Pod, all)
			if err != nil {
				t.Error(err)
			} else if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	wg.Wait()
}

func (s Suite) ended(t conformance.T) {
	ctx, end := context.WithCancel(start(t))
	end()
	if _, err := s.Judge.Judge(ctx, s.Pod, nodes(1)); err == nil {
		t.Error("judged after the context had ended")
	}
}

func (s Suite) judge(ctx context.Context, t conformance.T, nodes []scheduler.Node) []scheduler.Verdict {
	t.Helper()
	out, err := s.Judge.Judge(ctx, s.Pod, nodes)
	if err != nil {
		t.Fatal(err)
	}
	if len(out) != len(nodes) {
		t.Fatalf("%d verdicts for %d nodes", len(out), len(nodes))
	}
	return out
}

func nodes(n int) []scheduler.Node {
	out := make([]scheduler.Node, n)
	for i := range out {
		name := fmt.Sprintf("node-%d", i)
		out[i] = scheduler.Node{
			Name: name, Labels: map[string]string{"kubernetes.io/hostname": name}, Annotations: map[string]string{"a": "b"},
			Allocatable: map[string]int64{"cpu": 4000, "memory": 16 << 30}, Requested: map[string]int64{"cpu": int64(i) % 4000}, Pods: int64(i % 110),
		}
	}
	return out
}
