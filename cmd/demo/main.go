// Command demo is a web server to try a cluster with. It says which version and pod answered and has
// paths that make it misbehave:
//
//	/          version and pod name
//	/healthz   200 while the process lives
//	/readyz    200, or 503 after /unready until /ready
//	/crash     ends the process; ?code= is its exit code (default 1)
//	/env       the environment
//	/slow      answers after ?for= (default 1s)
//	/burn      keeps a core busy for ?for= (default 1s, at most 1m)
//
// On SIGTERM it turns unready, goes on serving for DEMO_LINGER (default 500ms), so that whoever routes to
// it can stop doing so, then finishes open requests and ends with code 0.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
)

func main() {
	if err := run(); err != nil {
		slog.Error("demo ended", "error", err)
		os.Exit(1)
	}
}

func run() error {
	linger, err := time.ParseDuration(env("DEMO_LINGER", "500ms"))
	if err != nil {
		return fmt.Errorf("read DEMO_LINGER: %w", err)
	}
	d := &demo{version: env("DEMO_VERSION", "dev"), pod: podName()}
	server := &http.Server{Addr: ":" + env("PORT", "8080"), Handler: d.routes(), ReadHeaderTimeout: 10 * time.Second}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	failed := make(chan error, 1)
	go func() { failed <- server.ListenAndServe() }()
	slog.Info("serving", "version", d.version, "pod", d.pod, "address", server.Addr)
	select {
	case err := <-failed:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	stop() // A second signal ends the process at once.
	d.unready.Store(true)
	slog.Info("ending", "linger", linger)
	time.Sleep(linger)
	end, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := server.Shutdown(end); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("shut down: %w", err)
	}
	return nil
}

func env(name, otherwise string) string {
	if v, ok := os.LookupEnv(name); ok {
		return v
	}
	return otherwise
}

func podName() string {
	if name := os.Getenv("POD_NAME"); name != "" {
		return name
	}
	name, err := os.Hostname()
	if err != nil {
		return "unknown"
	}
	return name
}

type demo struct {
	version, pod string
	unready      atomic.Bool
}

func (d *demo) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Pod", d.pod)
		w.Header().Set("X-Version", d.version)
		_, _ = fmt.Fprintf(w, "version=%s pod=%s\n", d.version, d.pod)
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", d.readyz)
	mux.HandleFunc("/unready", func(w http.ResponseWriter, _ *http.Request) {
		d.unready.Store(true)
		_, _ = fmt.Fprintln(w, "unready")
	})
	mux.HandleFunc("/ready", func(w http.ResponseWriter, _ *http.Request) {
		d.unready.Store(false)
		_, _ = fmt.Fprintln(w, "ready")
	})
	mux.HandleFunc("/crash", crash)
	mux.HandleFunc("GET /env", func(w http.ResponseWriter, _ *http.Request) {
		for _, e := range os.Environ() {
			_, _ = fmt.Fprintln(w, e)
		}
	})
	mux.HandleFunc("GET /slow", slow)
	mux.HandleFunc("GET /burn", burn)
	return mux
}

func (d *demo) readyz(w http.ResponseWriter, _ *http.Request) {
	if d.unready.Load() {
		http.Error(w, "unready", http.StatusServiceUnavailable)
		return
	}
	_, _ = fmt.Fprintln(w, "ok")
}

func crash(w http.ResponseWriter, r *http.Request) {
	code := 1
	if text := r.FormValue("code"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 || n > 255 {
			http.Error(w, "code must be a number from 0 to 255", http.StatusBadRequest)
			return
		}
		code = n
	}
	slog.Info("crashing", "code", code)
	os.Exit(code)
}

func slow(w http.ResponseWriter, r *http.Request) {
	wait, ok := duration(w, r)
	if !ok {
		return
	}
	select {
	case <-time.After(wait):
		_, _ = fmt.Fprintln(w, "done")
	case <-r.Context().Done():
	}
}

// burnMax bounds the load that one request can make.
const burnMax = time.Minute

// burn works for nothing, also when the client has gone: load is wanted, not an answer.
func burn(w http.ResponseWriter, r *http.Request) {
	work, ok := duration(w, r)
	if !ok {
		return
	}
	n := 0
	for end := time.Now().Add(min(work, burnMax)); time.Now().Before(end); n++ {
	}
	_, _ = fmt.Fprintln(w, "done", n)
}

// duration reads ?for=, and answers itself when that is none.
func duration(w http.ResponseWriter, r *http.Request) (time.Duration, bool) {
	text := r.FormValue("for")
	if text == "" {
		return time.Second, true
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		http.Error(w, "for must be a duration such as 500ms", http.StatusBadRequest)
		return 0, false
	}
	return d, true
}
