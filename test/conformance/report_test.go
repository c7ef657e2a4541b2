package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const report = `[{"SpecReports": [
	{"LeafNodeType": "SynchronizedBeforeSuite", "State": "passed"},
	{"ContainerHierarchyTexts": ["[sig-apps] Job"], "LeafNodeType": "It", "LeafNodeText": "should run [Conformance]", "State": "passed"},
	{"ContainerHierarchyTexts": ["[sig-apps] Job"], "LeafNodeType": "It", "LeafNodeText": "should end [Conformance]", "State": "failed",
	 "Failure": {"Message": "not|in\n  time after 12.345678s"}},
	{"ContainerHierarchyTexts": ["[sig-apps] Job"], "LeafNodeType": "It", "LeafNodeText": "should hang [Conformance]", "State": "timedout"},
	{"ContainerHierarchyTexts": ["[sig-apps] Job"], "LeafNodeType": "It", "LeafNodeText": "was not asked for [Conformance]", "State": "skipped"},
	{"ContainerHierarchyTexts": ["[sig-apps] Job"], "LeafNodeType": "It", "LeafNodeText": "does not count", "State": "skipped"},
	{"ContainerHierarchyTexts": ["[sig-node] Pods"], "LeafNodeType": "It", "LeafNodeText": "need two nodes", "State": "skipped",
	 "Failure": {"Message": "Requires at least 2 nodes"}}
]}]`

func TestParseReport(t *testing.T) {
	got, err := parseReport([]byte(report))
	if err != nil {
		t.Fatal(err)
	}
	want := []result{
		{"[sig-apps] Job should run [Conformance]", passed, ""},
		{"[sig-apps] Job should end [Conformance]", failed, `not\|in time after …`},
		{"[sig-apps] Job should hang [Conformance]", failed, ""},
		{"[sig-apps] Job was not asked for [Conformance]", notRun, ""},
		{"[sig-node] Pods need two nodes", notRun, "Requires at least 2 nodes"},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(result{})); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if _, err := parseReport([]byte("{")); err == nil {
		t.Error("half a report is no error")
	}
}

func TestMerge(t *testing.T) {
	before := []result{{"a", passed, ""}, {"b", failed, "old"}, {"d", passed, ""}}
	now := []result{{"c", notRun, ""}, {"b", passed, ""}, {"a", notRun, ""}, {"d", notRun, "needs two nodes"}}
	want := []result{{"a", passed, ""}, {"b", passed, ""}, {"c", notRun, ""}, {"d", notRun, "needs two nodes"}}
	if diff := cmp.Diff(want, merge(before, now), cmp.AllowUnexported(result{})); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestTable writes a table, adds to it, and reads it again.
func TestTable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "table.md")
	rows := []result{{"[sig-apps] a", failed, `x \| y | z`}, {"[sig-apps] b", passed, ""}}
	more := []result{{"[sig-apps] c", notRun, ""}}
	for _, r := range [][]result{rows, more} {
		if err := update(file, r); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(append(rows, more...), parseTable(string(text)), cmp.AllowUnexported(result{})); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if want := "1 pass, 1 fail, 1 were not run"; !strings.Contains(string(text), want) {
		t.Errorf("no %q in:\n%s", want, text)
	}
}

func TestVerdicts(t *testing.T) {
	var out strings.Builder
	w := &verdictWriter{to: &out}
	for _, part := range []string{"noise\n• [FAI", "LED] [5 seconds]\n[sig-apps] a te", "st\nnoise\n  [FAIL] a te", "st\nRan 1 of 2 Specs\nmore"} {
		if _, err := w.Write([]byte(part)); err != nil {
			t.Fatal(err)
		}
	}
	want := "• [FAILED] [5 seconds]\n[sig-apps] a test\n  [FAIL] a test\nRan 1 of 2 Specs\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
