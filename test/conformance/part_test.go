package main

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestPart(t *testing.T) {
	if !slices.IsSorted(part) || len(slices.Compact(slices.Clone(part))) != len(part) {
		t.Error("the names are not in order, each once")
	}
	focus := regexp.MustCompile(partFocus())
	for _, name := range part {
		if !focus.MatchString("Kubernetes e2e suite " + name) {
			t.Errorf("%q is not run", name)
		}
		if strings.Contains(name, "[Slow]") || strings.Contains(name, "[Serial]") {
			t.Errorf("%q takes too long", name)
		}
	}
	if focus.MatchString("[sig-apps] Job should do something else [Conformance]") {
		t.Error("others are run as well")
	}
}

func TestMissing(t *testing.T) {
	var results []result
	for _, name := range part {
		results = append(results, result{name: name, verdict: passed})
	}
	if err := missing(results); err != nil {
		t.Error(err)
	}
	results[0].verdict = failed
	err := missing(results[:len(results)-1])
	for _, name := range []string{part[0], part[len(part)-1]} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("got %v, want %q", err, name)
		}
	}
}
