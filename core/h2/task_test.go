package h2

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http2"
)

// told sends what it is told to all who have asked, each by a task as long as that can.
type told struct {
	mu    sync.Mutex
	lines []string
	asked []*listener
	// handed counts how often a task had to leave something to its handler.
	handed atomic.Int32
}

type listener struct {
	*told
	task *Task
	next int // line; of the task, or else of the handler
}

func (f *told) tell(line string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lines = append(f.lines, line+"\n")
	for _, l := range f.asked {
		l.task.Wake()
	}
}

func (f *told) from(i int) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.lines[i:]
}

// ServeHTTP answers with all lines, and those to come until one is "end".
func (f *told) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	_ = http.NewResponseController(w).Flush()
	l := &listener{told: f}
	for {
		left := make(chan bool)
		var gone bool
		task := TaskOf(w, func() {
			for _, line := range f.from(l.next) {
				if gone {
					return
				}
				if gone = !l.task.Append([]byte(line[:1]), nil, []byte(line[1:])); gone {
					close(left)
					return
				}
				if l.next++; line == "end\n" {
					gone = true
					close(left)
				}
			}
		})
		f.mu.Lock()
		l.task = task
		f.asked = append(f.asked, l)
		f.mu.Unlock()
		task.Wake()
		select {
		case <-left:
		case <-req.Context().Done():
			task.Stop()
			return
		}
		task.Stop()
		for _, line := range f.from(l.next) {
			f.handed.Add(1)
			if _, err := io.WriteString(w, line); err != nil {
				return
			}
			l.next++
		}
		if all := f.from(l.next - 1); len(all) == 1 && all[0] == "end\n" {
			return
		}
	}
}

// Who reads gets everything in order, of whatever size, also while another on the same connection does not read; and so does that one once
// it reads.
func TestTasks(t *testing.T) {
	f := &told{}
	url, client := served(t, &Server{}, f.ServeHTTP)
	const readers, count = 20, 250
	line := func(i int) string { return fmt.Sprintf("%d %s", i, strings.Repeat("x", 5_000+i*i%65_000)) }
	get := func() *bufio.Reader {
		resp := ask(t, client, "GET", url, nil)
		t.Cleanup(func() { resp.Body.Close() })
		return bufio.NewReader(resp.Body)
	}
	read := func(r *bufio.Reader) error {
		for i := range count {
			got, err := r.ReadString('\n')
			if want := line(i) + "\n"; got != want || err != nil {
				return fmt.Errorf("line %d is %.20q (%d bytes), %w, want %.20q (%d bytes)", i, got, len(got), err, want, len(want))
			}
		}
		if rest, err := io.ReadAll(r); string(rest) != "end\n" || err != nil {
			return fmt.Errorf("ends with %.20q, %w", rest, err)
		}
		return nil
	}
	slow := get()
	errs := make(chan error)
	for range readers {
		r := get()
		go func() { errs <- read(r) }()
	}
	for i := range count {
		f.tell(line(i))
	}
	f.tell("end")
	for range readers {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if err := read(slow); err != nil {
		t.Error(err)
	}
	if f.handed.Load() == 0 {
		t.Error("nobody had to wait, not even for who does not read")
	}
}

// What a client has allowed on the connection counts, and so does what it has allowed on the stream.
func TestTasksKeepToWindows(t *testing.T) {
	const each = 30_000
	for _, open := range []uint32{0, 1} { // of the two, which the client opens while it has allowed the other all along
		tasks, appended := make(chan *Task, 1), make(chan bool)
		url, roots := listen(t, &Server{}, func(w http.ResponseWriter, req *http.Request) {
			_ = http.NewResponseController(w).Flush()
			var task *Task
			task = TaskOf(w, func() { appended <- task.Append(make([]byte, each)) })
			tasks <- task
			<-req.Context().Done()
		})
		r := dialRaw(t, url, roots)
		r.request(1, false)
		r.check(r.WriteWindowUpdate(1-open, 1<<20))
		task := <-tasks
		r.check(r.WritePing(false, [8]byte{}))
		r.until(func(f http2.Frame) bool { p, ok := f.(*http2.PingFrame); return ok && p.IsAck() })
		for i, want := range []bool{true, true, false} { // of 65,535
			task.Wake()
			if got := <-appended; got != want {
				t.Errorf("appended %d times %d bytes: %v", i+1, each, got)
			}
		}
		r.check(r.WriteWindowUpdate(open, each))
		r.check(r.WritePing(false, [8]byte{1}))
		r.until(func(f http2.Frame) bool { p, ok := f.(*http2.PingFrame); return ok && p.Data[0] == 1 })
		task.Wake()
		if !<-appended {
			t.Error("appended nothing when there was room again")
		}
		task.Stop()
	}
}

// A task that panics ends its own answer alone, and one that is stopped does not run any more.
func TestTasksEnd(t *testing.T) {
	var runs atomic.Int32
	tasks := make(chan *Task, 2)
	handled := make(chan struct{})
	url, client := served(t, &Server{}, func(w http.ResponseWriter, req *http.Request) {
		_ = http.NewResponseController(w).Flush()
		var task *Task
		task = TaskOf(w, func() {
			if runs.Add(1); req.URL.Path == "/panic" {
				panic("as it is to")
			}
			task.Append([]byte("fine\n"))
		})
		tasks <- task
		<-req.Context().Done()
		task.Stop()
		handled <- struct{}{}
	})
	get := func(path string) (*http.Response, *Task) {
		resp := ask(t, client, "GET", url+path, nil)
		return resp, <-tasks
	}
	good, goodTask := get("/")
	bad, badTask := get("/panic")
	badTask.Wake()
	if _, err := io.ReadAll(bad.Body); err == nil {
		t.Error("the answer of the task that panicked ended well")
	}
	<-handled
	goodTask.Wake()
	if line, err := bufio.NewReader(good.Body).ReadString('\n'); line != "fine\n" || err != nil {
		t.Errorf("the other answer is %q, %v", line, err)
	}
	good.Body.Close()
	<-handled
	before := runs.Load()
	goodTask.Wake()
	badTask.Wake()
	next, nextTask := get("/") // whose task runs after those
	nextTask.Wake()
	if _, err := bufio.NewReader(next.Body).ReadString('\n'); err != nil {
		t.Error(err)
	}
	if got := runs.Load(); got != before+1 {
		t.Errorf("ran %d times after they were stopped", got-before-1)
	}
	next.Body.Close()
	<-handled
}

func TestTaskOf(t *testing.T) {
	type wrapped struct{ http.ResponseWriter }
	tests := map[string]struct {
		method  string
		prepare func(w http.ResponseWriter)
		want    bool
	}{
		"an answer that goes on":     {"GET", func(w http.ResponseWriter) { w.(http.Flusher).Flush() }, true},
		"not flushed":                {"GET", func(w http.ResponseWriter) { _, _ = io.WriteString(w, "held") }, false},
		"without a body":             {"HEAD", func(w http.ResponseWriter) { w.(http.Flusher).Flush() }, false},
		"with a length":              {"GET", func(w http.ResponseWriter) { w.Header().Set("Content-Length", "0"); w.(http.Flusher).Flush() }, false},
		"whose status allows no one": {"GET", func(w http.ResponseWriter) { w.WriteHeader(http.StatusNoContent); w.(http.Flusher).Flush() }, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := make(chan [2]bool, 1)
			url, client := served(t, &Server{}, func(w http.ResponseWriter, _ *http.Request) {
				test.prepare(w)
				got <- [2]bool{TaskOf(w, nil) != nil, TaskOf(wrapped{w}, nil) != nil}
			})
			call(t, client, test.method, url, nil)
			if have := <-got; have != [2]bool{test.want, false} {
				t.Errorf("there are tasks: %v; want %v, and none where it cannot be seen through", have[0], test.want)
			}
		})
	}
	if TaskOf(httptest.NewRecorder(), nil) != nil {
		t.Error("there is a task of what is no answer of this package")
	}
}
