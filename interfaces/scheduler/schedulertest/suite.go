// Package schedulertest is the conformance suite of scheduler plugins.
package schedulertest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryio/gantry/interfaces/scheduler"
)

// Suite is what a judge under test has to bring along.
type Suite struct {
	Judge scheduler.Judge
	// Pod is one that the judge has something to say about; the zero value is a pod without anything.
	Pod scheduler.Pod
}

// Run runs the suite.
func (s Suite) Run(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	t.Run("a description", func(t *testing.T) {
		d, err := s.Judge.Describe(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if d.Deadline < 0 {
			t.Errorf("the deadline is %s", d.Deadline)
		}
	})
	t.Run("a verdict for each node", func(t *testing.T) {
		for _, n := range []int{0, 1, 3, 5000} {
			for _, v := range s.judge(ctx, t, nodes(n)) {
				if v.Score < 0 || v.Score > scheduler.MaxScore {
					t.Fatalf("a score is %d", v.Score)
				}
			}
		}
	})
	t.Run("equal questions, equal answers", func(t *testing.T) {
		if diff := cmp.Diff(s.judge(ctx, t, nodes(50)), s.judge(ctx, t, nodes(50))); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("each node for itself", func(t *testing.T) {
		all := nodes(20)
		together := s.judge(ctx, t, all)
		for i := range all {
			if diff := cmp.Diff(together[i:i+1], s.judge(ctx, t, all[i:i+1])); diff != "" {
				t.Errorf("node %d: %s", i, diff)
			}
		}
	})
	t.Run("an end of its context", func(t *testing.T) {
		ended, end := context.WithCancel(ctx)
		end()
		if _, err := s.Judge.Judge(ended, s.Pod, nodes(1)); err == nil {
			t.Error("judged after the context had ended")
		}
	})
}

func (s Suite) judge(ctx context.Context, t *testing.T, nodes []scheduler.Node) []scheduler.Verdict {
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
