package conformance_test

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryio/gantry/interfaces/plugin/conformance"
)

func TestRun(t *testing.T) {
	var order []string
	note := func(what string) func() { return func() { order = append(order, what) } }
	var dir string
	never := make(chan struct{})
	defer close(never)
	results := conformance.Run([]conformance.Case{
		{Name: "passes", Run: func(t conformance.T) { t.Cleanup(note("first")); t.Cleanup(note("second")); dir = t.TempDir() }},
		{Name: "fails", Run: func(t conformance.T) { t.Errorf("one %d", 1); t.Fatal("two"); t.Error("unreached") }},
		{Name: "fails while it is cleaned up", Run: func(t conformance.T) {
			t.Cleanup(func() { t.Fatal("late") })
			t.Cleanup(func() { panic("later") })
		}},
		{Name: "panics", Run: func(conformance.T) { panic("oh") }},
		{Name: "skips", Run: func(t conformance.T) { t.Skip("not here") }},
		{Name: "hangs", Run: func(conformance.T) { <-never }},
	}, time.Second, nil)
	got := map[string]string{}
	for _, r := range results {
		got[r.Name] = strings.Join(r.Problems, "; ") + r.Skipped
	}
	want := map[string]string{
		"passes": "", "fails": "one 1; two", "fails while it is cleaned up": "panic: later; late", "panics": "panic: oh",
		"skips": "not here", "hangs": "it has not ended after 1s",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"second", "first"}, order); diff != "" {
		t.Errorf("cleanups ran in another order:\n%s", diff)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the temporary folder is left: %v", err)
	}
	var xml bytes.Buffer
	if err := conformance.WriteJUnit(&xml, "network/x", results); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{`tests="6" failures="4" skipped="1"`, `<failure message="one 1">`, `classname="network/x"`} {
		if !strings.Contains(xml.String(), part) {
			t.Errorf("JUnit lacks %s:\n%s", part, xml.String())
		}
	}
}
