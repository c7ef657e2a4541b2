package price_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryio/gantry/interfaces/plugin/local"
	"github.com/gantryio/gantry/interfaces/scheduler"
	"github.com/gantryio/gantry/interfaces/scheduler/schedulertest"
	"github.com/gantryio/gantry/plugins/scheduler/price"
)

func open(t *testing.T, c price.Config) scheduler.Judge {
	t.Helper()
	j, err := price.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func TestConformance(t *testing.T) {
	judge := open(t, price.Config{})
	t.Run("in process", func(t *testing.T) { schedulertest.Suite{Judge: judge}.Run(t) })
	t.Run("over the wire", func(t *testing.T) {
		conn := &local.Conn{}
		scheduler.Register(conn, judge)
		schedulertest.Suite{Judge: scheduler.NewClient(conn)}.Run(t)
	})
}

func TestJudge(t *testing.T) {
	nodes := []scheduler.Node{
		{Name: "free"},
		{Name: "cheap", Labels: map[string]string{price.DefaultLabel: "0.25"}},
		{Name: "dear", Labels: map[string]string{price.DefaultLabel: "3"}},
		{Name: "odd", Labels: map[string]string{price.DefaultLabel: "much"}},
	}
	for _, tc := range []struct {
		name string
		pod  scheduler.Pod
		want []scheduler.Verdict
	}{
		{"no limit", scheduler.Pod{}, []scheduler.Verdict{{Score: 100}, {Score: 75}, {Score: 0}, {Score: 100}}},
		{"a limit", scheduler.Pod{Annotations: map[string]string{price.DefaultAnnotation: "0.5"}}, []scheduler.Verdict{
			{Score: 100}, {Score: 75}, {Refusal: "node(s) were too expensive"}, {Score: 100},
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := open(t, price.Config{}).Judge(t.Context(), tc.pod, nodes)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	if _, err := open(t, price.Config{}).Judge(t.Context(), scheduler.Pod{Annotations: map[string]string{price.DefaultAnnotation: "x"}}, nodes); err == nil {
		t.Error("a limit that is no number is accepted")
	}
	if _, err := price.Open(price.Config{Most: -1}); err == nil {
		t.Error("a negative price is accepted")
	}
}
