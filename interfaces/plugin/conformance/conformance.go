// Package conformance runs the suites of the contracts outside of `go test`, so that a vendor, or an operator, can have
// a plugin judged on the machine where it is to run.
package conformance

import (
	"encoding/xml"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// T is what a case may use of *testing.T, and means the same.
type T interface {
	Helper()
	Name() string
	Log(args ...any)
	Logf(format string, args ...any)
	Error(args ...any)
	Errorf(format string, args ...any)
	Fatal(args ...any)
	Fatalf(format string, args ...any)
	Skip(args ...any)
	Failed() bool
	Cleanup(f func())
	TempDir() string
}

var _ T = (*testing.T)(nil)

// Case is one check of a suite. Everything it makes is removed by its cleanups.
type Case struct {
	Name string
	Run  func(t T)
}

// Test runs cases as subtests.
func Test(t *testing.T, cases []Case) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) { c.Run(t) })
	}
}

// Result is the verdict on one case.
type Result struct {
	Name string
	Took time.Duration
	// Problems are empty when the case has passed.
	Problems []string
	// Skipped is why it was not run to its end.
	Skipped string
	Log     []string
}

// Passed says that the plugin does what the case asks for.
func (r Result) Passed() bool { return len(r.Problems) == 0 && r.Skipped == "" }

// Run runs the cases one after the other. A case that takes longer than limit has failed; it is left behind, and the
// others are run all the same.
func Run(cases []Case, limit time.Duration, each func(Result)) []Result {
	var out []Result
	for _, c := range cases {
		r := run(c, limit)
		out = append(out, r)
		if each != nil {
			each(r)
		}
	}
	return out
}

func run(c Case, limit time.Duration) Result {
	b := &bench{name: c.Name}
	began := time.Now()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer b.tidy()
		b.guard(func() { c.Run(b) })
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		b.Errorf("it has not ended after %s", limit)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	r := Result{Name: c.Name, Took: time.Since(began), Skipped: b.skipped}
	r.Problems, r.Log = append(r.Problems, b.problems...), append(r.Log, b.log...)
	return r
}

// bench is T without `go test`.
type bench struct {
	name string

	mu       sync.Mutex
	problems []string
	log      []string
	skipped  string
	cleanups []func()
}

var _ T = (*bench)(nil)

// guard runs f on this goroutine's behalf, so that it may end its own by Goexit.
func (b *bench) guard(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if p := recover(); p != nil {
				b.Errorf("panic: %v", p)
			}
		}()
		f()
	}()
	<-done
}

func (b *bench) tidy() {
	for {
		b.mu.Lock()
		n := len(b.cleanups)
		if n == 0 {
			b.mu.Unlock()
			return
		}
		last := b.cleanups[n-1]
		b.cleanups = b.cleanups[:n-1]
		b.mu.Unlock()
		b.guard(last)
	}
}

func (b *bench) problem(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.problems = append(b.problems, strings.TrimSuffix(text, "\n"))
}

func (b *bench) Helper()                           {}
func (b *bench) Name() string                      { return b.name }
func (b *bench) Error(args ...any)                 { b.problem(fmt.Sprintln(args...)) }
func (b *bench) Errorf(format string, args ...any) { b.problem(fmt.Sprintf(format, args...)) }
func (b *bench) Fatal(args ...any)                 { b.Error(args...); runtime.Goexit() }
func (b *bench) Fatalf(format string, args ...any) { b.Errorf(format, args...); runtime.Goexit() }
func (b *bench) Logf(format string, args ...any)   { b.Log(fmt.Sprintf(format, args...)) }

func (b *bench) Log(args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.log = append(b.log, strings.TrimSuffix(fmt.Sprintln(args...), "\n"))
}

func (b *bench) Skip(args ...any) {
	b.mu.Lock()
	b.skipped = strings.TrimSuffix(fmt.Sprintln(args...), "\n")
	b.mu.Unlock()
	runtime.Goexit()
}

func (b *bench) Failed() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.problems) > 0
}

func (b *bench) Cleanup(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cleanups = append(b.cleanups, f)
}

func (b *bench) TempDir() string {
	dir, err := os.MkdirTemp("", "conformance")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			b.Error(err)
		}
	})
	return dir
}

type junitCase struct {
	Name    string    `xml:"name,attr"`
	Class   string    `xml:"classname,attr"`
	Seconds string    `xml:"time,attr"`
	Failure *junitWhy `xml:"failure,omitempty"`
	Skipped *junitWhy `xml:"skipped,omitempty"`
}

type junitWhy struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

type junitSuite struct {
	XMLName  xml.Name    `xml:"testsuite"`
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Skipped  int         `xml:"skipped,attr"`
	Cases    []junitCase `xml:"testcase"`
}

// WriteJUnit writes the results as JUnit XML.
func WriteJUnit(w io.Writer, suite string, results []Result) error {
	s := junitSuite{Name: suite, Tests: len(results)}
	for _, r := range results {
		c := junitCase{Name: r.Name, Class: suite, Seconds: fmt.Sprintf("%.3f", r.Took.Seconds())}
		switch {
		case len(r.Problems) > 0:
			s.Failures++
			c.Failure = &junitWhy{Message: r.Problems[0], Text: strings.Join(append(r.Problems, r.Log...), "\n")}
		case r.Skipped != "":
			s.Skipped++
			c.Skipped = &junitWhy{Message: r.Skipped}
		}
		s.Cases = append(s.Cases, c)
	}
	raw, err := xml.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("write JUnit: %w", err)
	}
	if _, err := fmt.Fprintf(w, "%s%s\n", xml.Header, raw); err != nil {
		return fmt.Errorf("write JUnit: %w", err)
	}
	return nil
}
