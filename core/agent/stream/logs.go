package stream

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/gantryio/gantry/core/agent/logs"
	"github.com/gantryio/gantry/core/upgrade"
)

func (s *Server) logs(w http.ResponseWriter, r *http.Request) {
	o, previous, err := logOptions(r.URL.Query(), time.Now())
	if err != nil {
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		return
	}
	ref, err := s.Pods.ContainerLog(r.PathValue("namespace"), r.PathValue("pod"), r.PathValue("container"), previous)
	if err != nil {
		fail(w, err)
		return
	}
	o.Ended = ref.Ended
	if o.At == nil {
		o.At = &logs.Position{}
	}
	ctx, cancel := s.untilStop(r.Context())
	defer cancel()
	w.Header().Set("Content-Type", "text/plain")
	out := &lazy{w: w}
	if err := logs.Read(ctx, ref.Path, o, out); err != nil {
		if !out.began {
			fail(w, err)
			return
		}
		s.Log.Debug("stream log", "path", ref.Path, "err", err)
		return
	}
	if o.Follow && ctx.Err() != nil && r.Context().Err() == nil {
		out.Flush() // a trailer follows chunks only
		w.Header().Set(http.TrailerPrefix+upgrade.LogPosition, o.At.String())
	}
}

// untilStop returns a context that ends with ctx and when the server stops.
func (s *Server) untilStop(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	if s.stopping != nil {
		go func() {
			select {
			case <-s.stopping:
				cancel()
			case <-ctx.Done():
			}
		}()
	}
	return ctx, cancel
}

// lazy remembers whether anything was written, after which no error status can be sent.
type lazy struct {
	w     http.ResponseWriter
	began bool
}

func (l *lazy) Write(b []byte) (int, error) { l.began = true; return l.w.Write(b) }

func (l *lazy) Flush() {
	l.began = true
	if f, ok := l.w.(http.Flusher); ok {
		f.Flush()
	}
}

// logOptions reads the query of the log subresource.
func logOptions(q url.Values, now time.Time) (o logs.Options, previous bool, err error) {
	o.Tail, o.Limit = -1, -1
	flag := func(name string) bool {
		v, _ := strconv.ParseBool(q.Get(name))
		return v || q.Has(name) && q.Get(name) == ""
	}
	number := func(name string, into *int64) {
		v := q.Get(name)
		if v == "" || err != nil {
			return
		}
		n, parseErr := strconv.ParseInt(v, 10, 64)
		if parseErr != nil || n < 0 {
			err = fmt.Errorf("invalid %s %q: must be a number that is not negative", name, v)
			return
		}
		*into = n
	}
	o.Follow, o.Timestamps, previous = flag("follow"), flag("timestamps"), flag("previous")
	since := int64(-1)
	number("tailLines", &o.Tail)
	number("limitBytes", &o.Limit)
	number("sinceSeconds", &since)
	if since >= 0 {
		o.Since = now.Add(-time.Duration(since) * time.Second)
	}
	if v := q.Get("sinceTime"); v != "" && err == nil {
		if o.Since, err = time.Parse(time.RFC3339Nano, v); err != nil {
			err = fmt.Errorf("invalid sinceTime %q: %w", v, err)
		}
	}
	switch v := q.Get("stream"); v {
	case "", string(corev1.LogStreamAll):
	case corev1.LogStreamStdout:
		o.Stream = "stdout"
	case corev1.LogStreamStderr:
		o.Stream = "stderr"
	default:
		err = fmt.Errorf("invalid stream %q", v)
	}
	if v := q.Get(upgrade.LogPositionParameter); v != "" && err == nil {
		var at logs.Position
		at, err = logs.ParsePosition(v)
		o.At = &at
	}
	return o, previous, err
}
