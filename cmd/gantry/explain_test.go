package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/gantryio/gantry/core/agent"
	"github.com/gantryio/gantry/core/scheduler"
)

func TestExplanationOfARunningPod(t *testing.T) {
	at := func(ms int) time.Time {
		return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC).Add(time.Duration(ms) * time.Millisecond)
	}
	e := explanation{
		Namespace: "default", Name: "p", Node: "n", Phase: corev1.PodRunning,
		Scheduler: scheduler.Explanation{State: "it is bound to n", Journey: scheduler.Journey{Queued: at(0), Decided: at(1), Bound: at(4)}},
		Agent: []agent.Span{
			{Stage: agent.StageSeen, Began: at(3), Ended: at(3)},
			{Stage: "network", Began: at(10), Ended: at(30)},
			{Stage: "sandbox", Began: at(5), Ended: at(50)},
			{Stage: "start of c", Began: at(50), Ended: at(80)},
			{Stage: agent.StageReady, Began: at(95), Ended: at(95)},
		},
	}
	var out bytes.Buffer
	if err := e.print(&out); err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(out.String()) {
		got = append(got, strings.Join(strings.Fields(line), " "))
	}
	want := []string{
		"Pod default/p (Running): it is bound to n.", "", "FROM ms TO ms TOOK ms STAGE",
		"0.0 0.0 0.0 queued", "0.0 1.0 1.0 decided", "1.0 4.0 3.0 bound", "1.0 3.0 2.0 seen",
		"5.0 50.0 45.0 sandbox", "10.0 30.0 20.0 network", "50.0 80.0 30.0 start of c", "80.0 95.0 15.0 probed and ready",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("printed\n%s", out.String())
	}
}

func TestExplanationOfAPendingPod(t *testing.T) {
	e := explanation{
		Namespace: "default", Name: "p", Phase: corev1.PodPending,
		Scheduler: scheduler.Explanation{State: "it waits", Nominated: "b", Nodes: []scheduler.NodeExplanation{
			{Name: "a", Reasons: []string{"Too many pods (110 of 110)", "Insufficient cpu"}}, {Name: "b", Fits: true, Score: 7},
		}},
	}
	var out bytes.Buffer
	if err := e.print(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Room is being made for it on b.", "Too many pods (110 of 110); Insufficient cpu", "b      yes    7"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
}
