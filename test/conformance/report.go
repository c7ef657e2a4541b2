package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
)

// verdict is what became of a test.
type verdict string

const (
	passed verdict = "pass"
	failed verdict = "FAIL"
	notRun verdict = "not run"
)

// result is one row of the table.
type result struct {
	name    string
	verdict verdict
	note    string
}

// spec is what matters here of a test in Ginkgo's report.
type spec struct {
	ContainerHierarchyTexts []string
	LeafNodeType            string
	LeafNodeText            string
	State                   string
	Failure                 struct{ Message string }
}

// counted are the tests that have a row even when they were never run.
var counted = regexp.MustCompile(`^\[sig-(apps|scheduling)\].*\[Conformance\]`)

func readReport(path string) ([]result, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the report: %w", err)
	}
	return parseReport(data)
}

func parseReport(data []byte) ([]result, error) {
	var reports []struct{ SpecReports []spec }
	if err := json.Unmarshal(data, &reports); err != nil {
		return nil, fmt.Errorf("read the report: %w", err)
	}
	var results []result
	for _, r := range reports {
		for _, s := range r.SpecReports {
			if s.LeafNodeType != "It" {
				continue
			}
			if res := s.result(); res.verdict != notRun || res.note != "" || counted.MatchString(res.name) {
				results = append(results, res)
			}
		}
	}
	return results, nil
}

func (s spec) result() result {
	res := result{name: strings.Join(append(slices.Clone(s.ContainerHierarchyTexts), s.LeafNodeText), " "), verdict: notRun}
	switch s.State {
	case "passed":
		res.verdict = passed
	case "skipped":
		res.note = brief(s.Failure.Message)
	case "pending":
	default:
		res.verdict, res.note = failed, brief(s.Failure.Message)
	}
	return res
}

// brief is the beginning of a message, fit for a cell of the table, without what is different each time.
func brief(message string) string {
	message = strings.Join(strings.Fields(message), " ")
	message = varying.ReplaceAllString(message, "…")
	if runes := []rune(message); len(runes) > 160 {
		message = string(runes[:160]) + "…"
	}
	return strings.ReplaceAll(message, "|", "\\|")
}

var varying = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f-]{27}|0x[0-9a-f]+|\d+\.\d{3,}m?s`)

// update merges results into the table in a file: tests that were not run now keep what was known of them.
func update(file string, results []result) error {
	before, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.WriteFile(file, []byte(render(merge(parseTable(string(before)), results))), 0o644)
}

func merge(before, now []result) []result {
	rows := map[string]result{}
	for _, r := range before {
		rows[r.name] = r
	}
	for _, r := range now {
		if _, known := rows[r.name]; !known || r.verdict != notRun || r.note != "" {
			rows[r.name] = r
		}
	}
	merged := make([]result, 0, len(rows))
	for _, r := range rows {
		merged = append(merged, r)
	}
	slices.SortFunc(merged, func(a, b result) int { return strings.Compare(a.name, b.name) })
	return merged
}

// parseTable reads what render has written.
func parseTable(text string) []result {
	var rows []result
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(line), "| "), " |")
		if cells := strings.SplitN(line, " | ", 3); len(cells) == 3 && strings.HasPrefix(cells[1], "`") {
			note := strings.TrimSpace(cells[2])
			rows = append(rows, result{name: strings.Trim(cells[1], "`"), verdict: verdict(cells[0]), note: note})
		}
	}
	return rows
}

func render(rows []result) string {
	count := map[verdict]int{}
	for _, r := range rows {
		count[r.verdict]++
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# Kubernetes' own tests\n\nWritten by `make conformance [FOCUS=regexp]`, which runs the e2e.test of Kubernetes %s against a fresh\n"+
		"cluster of one node, whose runc has seccomp unless the run was asked to do without (see [test/conformance](../test/conformance)). Tests that were\n"+
		"left out keep the result of the run before.\n\n%d pass, %d fail, %d were not run.\n\n", version(), count[passed], count[failed], count[notRun])
	b.WriteString("| result | test | what it said, or what it needs |\n|---|---|---|\n")
	for _, r := range rows {
		note := r.note
		if why := reason(r.name); r.verdict != passed && why != "" {
			note = why
		}
		fmt.Fprintf(&b, "| %s | `%s` | %s |\n", r.verdict, r.name, note)
	}
	return b.String()
}

// version is that of the tests.
func version() string {
	info, _ := debug.ReadBuildInfo()
	for _, m := range info.Deps {
		if m.Path == kubernetes {
			return m.Version
		}
	}
	return ""
}

// verdictWriter passes on only the lines that say what became of tests.
type verdictWriter struct {
	to io.Writer
	// rest is the beginning of a line.
	rest string
	// named says that the next line is the name of a test that has failed.
	named bool
}

var verdictLine = regexp.MustCompile(`^\s*\[(FAIL|PANICKED|TIMEDOUT|INTERRUPTED|SKIPPED)\]|^(Ran|PASS|FAIL|SUCCESS)|^• `)

// Write implements io.Writer.
func (w *verdictWriter) Write(p []byte) (int, error) {
	w.rest += string(p)
	for {
		line, rest, ok := strings.Cut(w.rest, "\n")
		if !ok {
			return len(p), nil
		}
		w.rest = rest
		pass := w.named || verdictLine.MatchString(line)
		w.named = strings.HasPrefix(line, "• [")
		if pass {
			if _, err := fmt.Fprintln(w.to, line); err != nil {
				return 0, err
			}
		}
	}
}
